"""The tables of a run: the rows of single knees gathered in the order of their keys, and who is tested in which fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from srrd_ray.diagnosis.splits import patient_folds
from srrd_ray.errors import InputError
from srrd_ray.io.cohort import Cohort, CohortKnee
from srrd_ray.io.tables import read_table, write_table
from srrd_ray.layout import RunLayout
from srrd_ray.records import Knee

KNEE_COLUMNS = ("participant", "side", "kl_grade", "oa", "age", "sex", "fold")


def gather_parts(layout: RunLayout, name: str, knees: Sequence[Knee]) -> Path:
    """Return the path of ``tables/<name>.parquet``, the parts of `knees` one after the other.

    Raises
    ------
    InputError
        `table-empty` where no knee has a part.
    """
    parts = [read_table(layout.part(name, knee)) for knee in sorted(knees)]
    if not parts:
        raise InputError(
            "table-empty", f"no knee has rows for the table {name}", todo="Look at the failed knees above."
        )
    write_table(layout.table(name), pd.concat(parts, ignore_index=True))
    return layout.table(name)


def write_knees(layout: RunLayout, cohort: Cohort, left: Sequence[Knee], folds: int, seed: int) -> Path:
    """Return the path of ``tables/knees.parquet``: every knee of the cohort; `fold` is null for those that were lost.

    All knees of a patient share a fold; folds are balanced in osteoarthritis.
    """
    kept = [knee for knee in cohort.knees if knee.knee in set(left)]
    fold_of = patient_folds([k.knee.participant for k in kept], [k.oa for k in kept], folds, seed)
    rows = [(*_facts(k), fold_of.get(k.knee.participant) if k in kept else None) for k in cohort.knees]
    table = pd.DataFrame(rows, columns=list(KNEE_COLUMNS))
    types = {"kl_grade": "Int64", "oa": "Int64", "fold": "Int64", "age": "Float64"}
    write_table(layout.table("knees"), table.astype(types))
    return layout.table("knees")


def _facts(knee: CohortKnee) -> tuple[object, ...]:
    return (knee.knee.participant, knee.knee.side, knee.kl_grade, knee.oa, knee.age, knee.sex)
