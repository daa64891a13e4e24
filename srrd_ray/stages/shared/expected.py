"""What to expect of the models of a run: who they learnt from, their errors, their usual values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.stages.classify import MODELS
from srrd_ray.stages.shared.gather import read_of_run
from srrd_ray.statistics.expected import Expected, ModelExpectations, expect
from srrd_ray.statistics.pairs import with_reference
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import read_record, write_record

EXPECTED = "expected.json"
READERS = tuple(model for model in MODELS if model != "teacher")
"""The models that read CT; the teacher reads MR."""


def write_expected(layout: RunLayout, *, simulated: bool) -> None:
    """Write ``models/expected.json`` of a run with a table of its knees; one without has none."""
    knees = read_of_run(layout, "knees")
    if knees is None:
        layout.model(EXPECTED).unlink(missing_ok=True)
        return
    learnt = knees.dropna(subset=["fold"])
    people = learnt.drop_duplicates("participant")
    ages = people["age"].dropna().astype("float64")
    diagnosed = learnt["oa"].dropna()
    record = Expected(
        simulated=simulated,
        patients=len(people),
        knees=len(learnt),
        women=int((people["sex"] == "F").sum()),
        men=int((people["sex"] == "M").sum()),
        with_oa=int(diagnosed.sum()) if len(diagnosed) else None,
        ages=(float(ages.min()), float(ages.max())) if len(ages) else None,
        models=dict(_models(layout, learnt)),
    )
    write_record(layout.model(EXPECTED), record, "expected")


def _models(layout: RunLayout, knees: pd.DataFrame) -> Iterator[tuple[str, ModelExpectations]]:
    predictions, measures = read_of_run(layout, "predictions"), read_of_run(layout, "measures")
    if predictions is None or measures is None:
        return
    teacher = predictions[predictions["model"] == "teacher"]
    by_reader = (predictions["model"] == "school").any()  # predicted where the school's reader is the teacher
    for name in READERS:
        own = predictions[predictions["model"] == name]
        if own.empty:
            continue
        if by_reader and name != "baseline":
            yield name, expect(with_reference(own, teacher, PARAMETERS), own, knees, "read")
        else:
            yield name, expect(with_reference(own, measures, PARAMETERS), own, knees)


def expected_beside(model: Path) -> Path:
    """Return where what to expect of a model would be: in its folder, where it is shared, else beside it."""
    shared = model / EXPECTED
    return shared if shared.is_file() else model.parent / EXPECTED


def read_expected(model: Path) -> Expected | None:
    """Return what to expect of a model; null where its folder was copied without it, or its run is older."""
    path = expected_beside(model)
    return read_record(Expected, path, "expected") if path.is_file() else None
