"""The facts of a model of a run: from its own card, and from the figures of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from srrd_ray.core.json_tree import Json, at
from srrd_ray.core.learner import FEW_PATIENTS
from srrd_ray.core.model_card import Figure, ModelFacts
from srrd_ray.core.parameters import PARAMETERS

SIMULATED: Final = "the model learnt from simulated knees: its values in patients are not validated"
READERS: Final = ("reader-mr", "reader-ct")
"""The models of a school: they learnt from its simulated knees alone."""
SCOPE: Final = (
    "Femur and tibia of one adult knee in CT (HU); `srrd infer` flags a scan unlike its training images."
)
OF_MEASURED: Final = "Values are predictions of what was measured in MR: there is no calibration to microCT."
OF_READ: Final = (
    "Values are predictions of what readers of simulated knees read in MR and CT: there is no calibration to "
    "microCT."
)
OF_READERS: Final = "Values are those of a simulator's bone: how they compare with microCT is not known."
NOT_SEEN: Final = "Metal, contrast in the joint, fractures and children were not in its training."
USE: Final = (
    "Reads bone volume fraction, thickness, separation and number of trabeculae in cubes of subchondral bone "
    "of a knee CT: `srrd infer --model FOLDER --ct CT --out OUT`."
)
USE_OF_TEACHER: Final = "Reads the same in cubes of a knee MR: it teaches a student, and reads no CT."
OF_SCHOOL: Final = (
    "Simulated knees of a school alone, with their exact truth as target; school.json beside the folder says "
    "how many, and how well it reads knees that it never saw.",
)
NOT_MEASURED: Final = (
    "How well its values repeat when a knee is scanned again was not measured, nor how often its 90 % "
    "intervals hold: there is no precision.json in its folder."
)
TAUGHT: Final = (
    "the labels of the model were read by networks that learnt from simulated knees alone: they are not "
    "validated in patients"
)
LICENCE_OF_SIMULATED: Final = "Apache-2.0"


def caution(patients: Sequence[int]) -> str:
    """Return the warning of a model whose folds learnt from so few patients; empty where they are enough."""
    least = min(patients, default=0)
    if least >= FEW_PATIENTS:
        return ""
    return f"learnt from {least} patients, fewer than {FEW_PATIENTS}: do not trust what it reads in others"


def facts_of_run(
    name: str, metrics: Json, warning: str, files: Mapping[str, str], precision: Sequence[Figure] = ()
) -> ModelFacts:
    """Return the facts of the model `name` of a run with these metrics, which may be empty.

    `warning` is its caution; without figures of its `precision` a limit says so. A licence is stated where no
    patient's data is in the weights.
    """
    simulated = at(metrics, "cohort", "simulated")
    known = simulated if isinstance(simulated, bool) else None
    if name in READERS:
        known = True
    first = (f"It {warning}.",) if warning else ()
    return ModelFacts(
        name=f"SRRD-Ray {name}",
        use=USE,
        data=OF_SCHOOL if name in READERS else tuple(_data(metrics)),
        simulated=known,
        limits=(
            *first,
            *((f"{SIMULATED[0].upper()}{SIMULATED[1:]}.",) if known else ()),
            *(SCOPE, _values_are(name, metrics), NOT_SEEN),
            *(() if precision else (NOT_MEASURED,)),
        ),
        figures=(*_figures(name, metrics), *precision),
        licence=LICENCE_OF_SIMULATED if known else "",
        files=files,
    )


def _values_are(name: str, metrics: Json) -> str:
    """Return of what the values of a model are predictions."""
    if name in READERS:
        return OF_READERS
    return OF_MEASURED if at(metrics, "regression_teacher") is None else OF_READ


def _data(metrics: Json) -> Iterator[str]:
    patients, knees = at(metrics, "cohort", "patients"), at(metrics, "cohort", "knees")
    if patients is None:
        yield "Not known: no metrics.json lies beside the model."
        return
    yield f"{knees} knees of {patients} patients with CT and MR; folds by patient."
    least = at(metrics, "cohort", "learnt_from")
    if least is not None:
        yield f"Each network learnt from {least} patients or more."


def _figures(name: str, metrics: Json) -> Iterator[Figure]:
    against = (
        ("regression", "MR"),
        ("regression_teacher", "the teacher's reading of MR"),
        ("regression_truth", "the simulated truth"),
    )
    for part, of in against:
        if at(metrics, part, name) is None:
            continue
        for symbol in PARAMETERS:
            yield _figure(f"{symbol}: ICC(A,1) with {of}", at(metrics, part, name, symbol), "icc")
    diagnosis = at(metrics, "diagnosis", name)
    if diagnosis is not None:
        yield _figure("osteoarthritis: AUC", diagnosis, "auc")


def _figure(name: str, found: Json, key: str) -> Figure:
    value = at(found, key)
    interval = _interval(at(found, f"{key}_ci"))
    reason = at(found, "reason")
    return Figure(
        name=name,
        value=float(value) if isinstance(value, int | float) else None,
        interval=interval,
        reason=str(reason) if reason and value is None else "",
    )


def _interval(limits: Json) -> tuple[float, float] | None:
    match limits:
        case [int() | float() as low, int() | float() as high]:
            return float(low), float(high)
        case _:
            return None
