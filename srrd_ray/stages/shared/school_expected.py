"""What to expect of the school's reader of CT: errors in knees that it never saw, and its usual values."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.data import DistillationData
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.school import number_of, sample_school_knee
from srrd_ray.stages.shared.expected import EXPECTED
from srrd_ray.statistics.expected import Expected, ModelExpectations, expect
from srrd_ray.statistics.pairs import KEYS, REFERENCE
from srrd_ray.storage.record_files import write_record


def write_reader_expected(
    model: Path, read: NDArray[np.float32], data: tuple[DistillationData, DistillationData], seed: int
) -> None:
    """Write ``expected.json`` into the folder of a reader, which bears the reader's name in its card.

    Parameters
    ----------
    read
        (n, parameter): what it reads in the cubes that judge.
    data
        The cubes that it learnt from, and those that judge; their targets are the truth.
    seed
        Of the school.
    """
    taught, judging = data
    people = _people(taught.patients, seed)
    ages = [person.age for person in people]
    record = Expected(
        simulated=True,
        patients=len(people),
        knees=len(people),
        women=sum(person.sex == "F" for person in people),
        men=sum(person.sex == "M" for person in people),
        with_oa=sum(person.oa for person in people),
        ages=(min(ages), max(ages)),
        models={"reader-ct": _expectations(read, judging, seed)},
    )
    write_record(model / EXPECTED, record, "expected")


def _expectations(read: NDArray[np.float32], judging: DistillationData, seed: int) -> ModelExpectations:
    table = _table(judging, read)
    pairs = table.join(_values(judging.targets).add_suffix(REFERENCE))
    return expect(pairs, table, _knees(_people(judging.patients, seed)), "truth")


def _table(data: DistillationData, read: NDArray[np.float32]) -> pd.DataFrame:
    """Return a row a cube: whose it is, and what was read."""
    regions = [str(region).split("-") for region in data.regions]
    keys = [(str(patient), *region) for patient, region in zip(data.patients, regions, strict=True)]
    return pd.DataFrame(keys, columns=list(KEYS)).join(_values(read))


def _values(values: NDArray[np.float32]) -> pd.DataFrame:
    return pd.DataFrame(values.astype(np.float64), columns=list(PARAMETERS))


def _people(participants: Iterable[str], seed: int) -> list[SimulatedKnee]:
    return [sample_school_knee(number_of(str(name)), seed).plan for name in np.unique(list(participants))]


def _knees(people: list[SimulatedKnee]) -> pd.DataFrame:
    rows = [(person.knee.participant, person.age, person.sex) for person in people]
    return pd.DataFrame(rows, columns=["participant", "age", "sex"])
