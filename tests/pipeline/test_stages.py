"""What follows from the declarations of the stages: one owner an output, hashes of exactly what is declared, small work items."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cohort.tables import Cohort
from srrd_ray.core import serial
from srrd_ray.core.bones import BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.records import CohortKnee, Knee, Modality, Series
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.graph import StageGraph
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.stage import AnyStage, value_at
from srrd_ray.execution.work import WorkItem
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.inputs import inputs_of
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.stages.ingest import paired_source
from srrd_ray.storage.paths import ObjectPath, parse_path
from tests.running import STAGE_NAMES, writer

ONLY_WHERE_AND_HOW_LONG = {
    "cluster.cpus", "cluster.object_store_mb", "cluster.gpu", "cluster.knee_memory_mb", "cluster.task_retries",
    "cluster.stall_seconds",
}  # fmt: skip
"""Settings that no result depends on."""


def keys_of(data: object, prefix: str = "") -> Iterator[str]:
    if not isinstance(data, dict):
        yield prefix.rstrip(".")
        return
    for key, value in data.items():
        yield from keys_of(value, f"{prefix}{key}.")


LEAVES = sorted(keys_of(json.loads(serial.to_json(RunConfig()))))


def cohort_knee(number: int, root: Path, *, mr: bool = True) -> CohortKnee:
    knee = Knee(participant=f"{number:06d}", side="L")
    ct, mr_of = (Series(knee=knee, modality=m, path=root / f"{knee.key}_{m}.nii.gz") for m in ("ct", "mr"))
    for series in (ct, mr_of):
        series.path.parent.mkdir(parents=True, exist_ok=True)
        series.path.write_text("image") if not isinstance(series.path, ObjectPath) else None
    masks: tuple[tuple[BoneName, Modality, Path], ...] = (("femur", "ct", ct.path),)
    return CohortKnee(
        knee=knee, ct=ct, mr=mr_of if mr else None, kl_grade=2, oa=1, age=60.0, sex="F", masks=masks
    )


def graph_of(cohort: Cohort, root: Path, config: RunConfig | None = None) -> StageGraph:
    manifest = writer(root, config or RunConfig())
    return StageGraph(
        runner=Runner(executor=PlainLoop()), layout=manifest.layout, stages=STAGES, inputs=inputs_of(cohort, manifest),
        remaining=[knee.knee for knee in cohort.knees],
    )  # fmt: skip


def input_hashes(cohort: Cohort, root: Path, config: RunConfig | None = None) -> dict[str, tuple[str, ...]]:
    """The input hashes of all work items by stage, as if every stage had written the same as before."""
    graph = graph_of(cohort, root, config)
    graph.hashes = {(stage.name, name): "the same" for stage in STAGES for name, _ in graph._named(stage)}
    return {stage.name: tuple(item.input_hash for item in graph._items(stage)) for stage in STAGES}


def changed(before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]]) -> set[str]:
    return {name for name in STAGE_NAMES if before[name] != after[name]}


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    root = tmp_path / "cohort"
    return Cohort(root=root, knees=tuple(cohort_knee(number, root) for number in range(5)))


def test_no_output_has_two_owners_and_every_stage_has_its_own_name() -> None:
    owners = Counter(kind for stage in STAGES for kind in stage.outputs)
    assert [kind for kind, number in owners.items() if number > 1] == []
    assert len(set(STAGE_NAMES)) == len(STAGES)


def test_a_stage_needs_stages_before_it_alone() -> None:
    for number, stage in enumerate(STAGES):
        assert set(stage.needs) <= set(STAGE_NAMES[:number]), stage.name


@pytest.mark.parametrize("stage", STAGES, ids=STAGE_NAMES)
def test_the_settings_of_a_stage_are_keys_of_the_configuration(stage: AnyStage) -> None:
    settings, config = stage.select(RunConfig()), RunConfig()
    for name, key in stage.setting_keys().items():
        assert getattr(settings, name) == value_at(config, key)


def declares(stage: AnyStage, leaf: str) -> bool:
    return any(leaf == key or leaf.startswith(f"{key}.") for key in stage.setting_keys().values())


def with_value(data: dict[str, object], leaf: str) -> RunConfig | None:
    """The configuration with another valid value at a leaf; none where no simple change is valid."""
    *above, last = leaf.split(".")
    node: dict[str, object] = data
    for key in above:
        node = node[key]  # type: ignore[assignment]
    before = node[last]
    for value in candidates(before):
        if value == before:
            continue
        node[last] = value
        try:
            return serial.from_mapping(RunConfig, data)
        except ValueError:
            continue
    return None


def candidates(value: object) -> Iterator[object]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield from (value + 1, value - 1, value / 2, value * 0.9, value * 1.1, value + 32)
        case str():
            yield from (
                "never",
                "paper",
                "apparent",
                "flag",
                "other",
                "structure",
                "mean",
                "resample",
                "sform",
                "qform",
            )
        case list():
            yield [type(one)(one * 0.9) if isinstance(one, float) else one + 1 for one in value]
        case None:
            yield from (1, 1.0, "a")


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_setting_changes_the_hashes_of_the_stages_that_declare_it_and_of_no_other(
    leaf: str, cohort: Cohort, tmp_path: Path
) -> None:
    config = with_value(json.loads(serial.to_json(RunConfig())), leaf)
    if config is None:
        pytest.skip("no other value that is simple to make is valid")
    declaring = {stage.name for stage in STAGES if declares(stage, leaf)}
    assert bool(declaring) == (leaf not in ONLY_WHERE_AND_HOW_LONG)
    if leaf == "patches.knees_per_shard":
        return  # deals the knees out anew: other work items
    before, after = (input_hashes(cohort, tmp_path / "run", one) for one in (RunConfig(), config))
    assert changed(before, after) == declaring | {"report"}, "the report shows the whole configuration"


@pytest.mark.parametrize(("field", "value"), [("oa", 0), ("kl_grade", 3), ("age", 61.0), ("sex", "M")])
def test_a_field_of_the_tables_changes_the_hash_of_the_stage_that_writes_it_on(
    field: str, value: object, cohort: Cohort, tmp_path: Path
) -> None:
    first = replace(cohort.knees[0], **{field: value})  # type: ignore[arg-type]
    corrected = replace(cohort, knees=(first, *cohort.knees[1:]))
    before, after = (input_hashes(one, tmp_path / "run") for one in (cohort, corrected))
    assert changed(before, after) == {"tables"}


@pytest.mark.parametrize("which", ["ct", "mr", "masks"])
def test_a_replaced_image_changes_the_hash_of_its_own_knee_alone(
    which: str, cohort: Cohort, tmp_path: Path
) -> None:
    before = input_hashes(cohort, tmp_path / "run")
    knee = cohort.knees[2]
    path = knee.masks[0][2] if which == "masks" else getattr(knee, which).path
    path.write_text("another image")
    after = input_hashes(cohort, tmp_path / "run")
    assert changed(before, after) == {"ingest"}
    assert [a == b for a, b in zip(before["ingest"], after["ingest"], strict=True)] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_changed_truth_is_evaluated_anew(cohort: Cohort, tmp_path: Path) -> None:
    truth = cohort.root / "derivatives" / "truth" / "sub-000001"
    truth.mkdir(parents=True)
    before = input_hashes(cohort, tmp_path / "run")
    (truth / "sub-000001_side-L_truth.json").write_text("{}")
    evaluating = {"compare-synthesis", "compare-diagnosis", "evaluate"}
    assert changed(before, input_hashes(cohort, tmp_path / "run")) == evaluating


def test_a_work_item_carries_its_knee_and_survives_json(cohort: Cohort, tmp_path: Path) -> None:
    item = graph_of(cohort, tmp_path / "run")._items(STAGES[0])[4]
    back = serial.from_json(WorkItem, serial.to_json(item))
    assert back == item
    assert paired_source(back) == cohort.knees[4]


def test_paths_of_a_store_are_such_again_after_json() -> None:
    root = parse_path(Path("s3://bucket/cohort"))
    knee = Knee(participant="000001", side="L")
    ct, mr = (Series(knee=knee, modality=m, path=root / f"{knee.key}_{m}.nii.gz") for m in ("ct", "mr"))
    source = CohortKnee(
        knee=knee, ct=ct, mr=mr, kl_grade=None, oa=None, age=None, sex=None, masks=(("femur", "ct", ct.path),)
    )
    item = WorkItem(name="a", input_hash="h", source=source)
    found = paired_source(serial.from_json(WorkItem, serial.to_json(item)))
    paths = [found.ct.path, found.mr.path, found.masks[0][2]] if found.ct and found.mr else []
    assert [type(path) for path in paths] == [ObjectPath] * 3
    assert str(paths[0]) == "s3://bucket/cohort/sub-000001_side-L_ct.nii.gz"


def test_a_knee_without_its_mr_is_refused_by_name(tmp_path: Path) -> None:
    item = WorkItem(name="a", input_hash="h", source=cohort_knee(1, tmp_path, mr=False))
    with pytest.raises(InputError, match=r"pair-incomplete.*MR"):
        paired_source(item)
