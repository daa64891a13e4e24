"""What travels to the machines: the acts and one unit, never the cohort."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from srrd_ray.cohort.tables import Cohort
from srrd_ray.core import serial
from srrd_ray.core.errors import InputError
from srrd_ray.core.records import CohortKnee, Knee, Series
from srrd_ray.execution.work import Task, WorkItem
from srrd_ray.pipeline.acts import Acts, paired_source
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.stages.gather import read_folds, write_knees
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import ObjectPath, parse_path


def cohort_knee(number: int, root: Path, *, mr: bool = True) -> CohortKnee:
    knee = Knee(participant=f"{number:06d}", side="L")
    ct, mr_of = (Series(knee=knee, modality=m, path=root / f"{knee.key}_{m}.nii.gz") for m in ("ct", "mr"))
    masks = (("femur", "ct", root / f"{knee.key}_mask.nii.gz"),)
    return CohortKnee(knee=knee, ct=ct, mr=mr_of if mr else None, kl_grade=2, oa=1, age=60.0, sex="F", masks=masks)  # type: ignore[arg-type]


def acts(root: Path, knees: int) -> Acts:
    cohort = Cohort(root=root, knees=tuple(cohort_knee(number, root) for number in range(knees)))
    return Acts(layout=RunLayout(root=root / "run"), cohort=cohort, config=RunConfig())


def test_a_task_is_as_large_for_many_knees_as_for_one(tmp_path: Path) -> None:
    sizes = set()
    for knees in (1, 500):
        mine = acts(tmp_path, knees)
        assert mine.shard_of
        sizes.add(len(pickle.dumps(Task(stage="ingest", layout=mine.layout, act=mine.units.ingest))))
    assert len(sizes) == 1


def test_a_unit_carries_its_knee_and_its_shard_as_json(tmp_path: Path) -> None:
    mine = acts(tmp_path, 5)
    knee = mine.cohort.knees[4]
    unit = mine.with_shard(mine.with_source(WorkItem(name=knee.knee.key, key="k", knees=(knee.knee,))))
    back = serial.from_json(WorkItem, serial.to_line(unit))
    assert back == unit
    assert back.shard == "shard-00001"
    assert mine.layout.shard_number(back.shard) == 1
    assert paired_source(back) == knee


def test_a_shard_carries_the_folds_of_its_own_patients_that_are_tested(tmp_path: Path) -> None:
    mine = acts(tmp_path, 9)
    lost = mine.cohort.knees[1].knee
    left = [one.knee for one in mine.cohort.knees if one.knee != lost]
    write_knees(mine.layout, mine.cohort.knees, left, folds=3, seed=0)
    unit = mine.with_folds(WorkItem(name="shard-00000", key="k", knees=tuple(left[:2])))
    assert set(unit.folds) == {knee.participant for knee in mine.shards["shard-00000"].knees} - {lost.participant}
    assert unit.folds.items() <= read_folds(mine.layout).items()
    assert len(read_folds(mine.layout)) == 8
    assert serial.from_json(WorkItem, serial.to_line(unit)) == unit


def test_places_of_a_store_are_places_again_after_json() -> None:
    root = parse_path(Path("s3://bucket/cohort"))
    unit = WorkItem(name="a", key="k", source=cohort_knee(1, root))
    knee = paired_source(serial.from_json(WorkItem, serial.to_line(unit)))
    paths = [knee.ct.path, knee.mr.path, knee.masks[0][2]] if knee.ct and knee.mr else []
    assert [type(path) for path in paths] == [ObjectPath] * 3
    assert str(paths[0]) == "s3://bucket/cohort/sub-000001_side-L_ct.nii.gz"


def test_a_knee_without_its_mr_is_refused_by_name(tmp_path: Path) -> None:
    unit = WorkItem(name="a", key="k", source=cohort_knee(1, tmp_path, mr=False))
    with pytest.raises(InputError, match=r"pair-incomplete.*MR"):
        paired_source(unit)
