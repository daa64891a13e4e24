"""``precision.json`` in the folder of a model: written where it was measured, read by its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from srrd_ray.core.errors import StoreError
from srrd_ray.core.model_card import Figure
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.stages.shared.models import read_card
from srrd_ray.statistics.model_precision import ModelPrecision
from srrd_ray.storage.record_files import read_record, write_record

PRECISION = "precision.json"


def write_precision(model: Path, record: ModelPrecision) -> Path:
    """Return the path of the record, written into the folder of the model that it was measured of."""
    _require_same(model, record)
    write_record(model / PRECISION, record, "precision")
    return model / PRECISION


def read_precision(model: Path) -> ModelPrecision | None:
    """Return the precision of the model in a folder; null where it was not measured.

    Raises
    ------
    StoreError
        `model-altered` where it was measured of other weights, and as `read_record`.
    """
    path = model / PRECISION
    if not path.is_file():
        return None
    record = read_record(ModelPrecision, path, "precision")
    _require_same(model, record)
    return record


def precision_figures(record: ModelPrecision) -> Iterator[Figure]:
    """Yield for a card how well the values repeat, and the coverage of their intervals.

    Of each region where a knee is only repositioned, of the mean of a knee else: the record has the rest.
    """
    knees = f"{record.knees} simulated knees" if record.simulated else f"{record.knees} knees"
    for one in record.errors:
        if one.repeat != "repositioned" and one.bone is not None:
            continue
        of = f"{knees} {one.repeat}, {one.bone or 'mean of'} {one.compartment or 'the regions'}"
        unit, error = PARAMETER_OF[one.parameter].unit, one.error
        yield Figure(
            name=f"{one.parameter}: RMS-CV (%), {of}",
            value=error.rms_cv_percent, interval=error.rms_cv_percent_ci,
        )  # fmt: skip
        if one.repeat == "another day":
            change = f"least significant change ({unit})" if unit else "least significant change"
            value = error.least_significant_change
            yield Figure(name=f"{one.parameter}: {change}, {of}", value=value, digits=3)
    for held in (record.covered(parameter) for parameter in PARAMETERS):
        if held is not None:
            name = f"{held.parameter}: coverage of the 90 % interval, {knees}"
            yield Figure(name=name, value=held.share, interval=held.ci)


def _require_same(model: Path, record: ModelPrecision) -> None:
    if dict(record.weights) != dict(read_card(model).weights):
        raise StoreError(
            "model-altered", "the precision was measured of other weights than the model's",
            where=f"{model.name}/{PRECISION}",
            todo="Remove the file, or measure again: python benchmarks/precision.py.",
        )  # fmt: skip
