"""The tables of a run: the rows of single knees in the order of their keys, and the fold of each patient."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd

from srrd_ray.cohort.leakage import leak_error, leaks
from srrd_ray.cohort.tables import MODALITIES
from srrd_ray.core.errors import InputError
from srrd_ray.core.records import CohortKnee, Knee
from srrd_ray.diagnosis.splits import patient_folds
from srrd_ray.statistics.pairs import COLUMNS
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_stored
from srrd_ray.storage.tables import join_tables, read_table, write_table

log = logging.getLogger(__name__)

KNEE_COLUMNS = ("participant", "side", "kl_grade", "oa", "age", "sex", "fold")


def gather_parts(layout: RunLayout, name: str, knees: Sequence[Knee]) -> Path:
    """Return the path of ``tables/<name>.parquet``, the parts of `knees` one after the other.

    Raises
    ------
    InputError
        `table-empty` where no knee has a part.
    """
    return _join(layout.table(name), [layout.part(name, knee) for knee in sorted(knees)])


def gather_predictions(layout: RunLayout, shards: Sequence[str]) -> Path:
    """Return the path of ``tables/predictions.parquet``, the parts of `shards` one after the other."""
    return _join(
        layout.table("predictions"), [layout.shard_part("predictions", shard) for shard in sorted(shards)]
    )


def _join(path: Path, parts: Sequence[Path]) -> Path:
    if not parts:
        raise InputError(
            "table-empty", f"nothing to gather into {path.name}", todo="Look at the failed knees above."
        )
    join_tables(path, parts)
    return path


def check_duplicate_images(layout: RunLayout, knees: Sequence[Knee]) -> None:
    """Stop where one image goes by two participants: the patient would be in training and test at once.

    Raises
    ------
    CohortError
        `leakage-same-image` naming the knees.
    """
    for shared in leaks(_images(layout, knees)):
        raise leak_error(shared)


def _images(layout: RunLayout, knees: Sequence[Knee]) -> Iterator[tuple[str, Knee]]:
    """Yield the hash of the voxels of every ingested image, and its knee."""
    for knee in knees:
        for path in (layout.volume(knee, modality) for modality in MODALITIES):
            if path.exists():
                stored = read_stored(path)
                yield stored.voxels_sha256 or stored.sha256, knee


def write_knees(
    layout: RunLayout, cohort: Sequence[CohortKnee], remaining: Sequence[Knee], folds: int, seed: int
) -> Path:
    """Return the path of ``tables/knees.parquet``: every knee of the cohort; `fold` is null for failed ones.

    All knees of a patient share a fold; folds are balanced in osteoarthritis. Where fewer patients than folds
    remain, each has a fold of his own.

    Raises
    ------
    InputError
        `patients-few` where fewer than two remain.
    """
    known = set(remaining)
    kept = [knee for knee in cohort if knee.knee in known]
    used = _usable_folds(folds, len({knee.knee.participant for knee in kept}))
    fold_of = patient_folds([k.knee.participant for k in kept], [k.oa for k in kept], used, seed)
    rows = [(*_facts(k), fold_of.get(k.knee.participant) if k.knee in known else None) for k in cohort]
    table = pd.DataFrame(rows, columns=list(KNEE_COLUMNS))
    types = {"kl_grade": "Int64", "oa": "Int64", "fold": "Int64", "age": "Float64"}
    write_table(layout.table("knees"), table.astype(types))
    return layout.table("knees")


def _usable_folds(folds: int, patients: int) -> int:
    if patients < 2:
        raise InputError(
            "patients-few", "cross-validation needs two patients", got=f"{patients} without a failed knee",
            todo="Look at the failed knees above.",
        )  # fmt: skip
    if patients < folds:
        log.warning("%-16s %d folds in place of %d: so many patients remain", "tables", patients, folds)
    return min(folds, patients)


def read_of_run(layout: RunLayout, name: str) -> pd.DataFrame | None:
    """Return a table of a run, or nothing where the run did not come so far or the layout is not open to it.

    Of a long table only the columns are read that pairs of values need.
    """
    if not layout.opens(f"tables/{name}"):
        return None
    path = layout.table(name)
    return read_table(path, COLUMNS.get(name, ()), coded=name in COLUMNS) if path.is_file() else None


def read_folds(layout: RunLayout, patients: Collection[str] | None = None) -> dict[str, int]:
    """Return the fold of each patient of table ``knees`` that is tested.

    Only patients in `patients` are returned where it is given.
    """
    knees = read_table(layout.table("knees"), ("participant", "fold")).dropna(subset=["fold"])
    if patients is not None:
        knees = knees[knees["participant"].isin(list(patients))]
    return {str(p): int(f) for p, f in zip(knees["participant"], knees["fold"], strict=True)}


def _facts(knee: CohortKnee) -> tuple[object, ...]:
    return (knee.knee.participant, knee.knee.side, knee.kl_grade, knee.oa, knee.age, knee.sex)
