"""The input of the classifier: a few features of a knee from the predicted parameters of its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BoneName
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import COMPARTMENTS, Compartment, Knee

NAMES = tuple(f"{parameter} {what}" for parameter in PARAMETERS for what in ("mean", "medial-lateral"))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchValues:
    """The four parameters (n, 4) of n patches, and where each lies."""

    knees: Sequence[Knee]
    bones: Sequence[BoneName]
    compartments: Sequence[Compartment]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """One row a knee (knees, features); `excluded` are knees of which a
    compartment could not be measured in any bone.
    """

    knees: tuple[Knee, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]
    excluded: tuple[Knee, ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each row."""
        return tuple(knee.participant for knee in self.knees)


def knee_features(patches: PatchValues) -> Features:
    """Return eight features a knee: for each parameter its mean and its medial-lateral contrast,
    bones averaged.

    Few features on purpose: cohorts have tens of knees. A region counts once however many patches it has;
    a bone that is missing leaves its compartments to the other one; patches without a value are left out.
    """
    regions: dict[Knee, dict[tuple[Compartment, BoneName], list[int]]] = {}
    for index, knee in enumerate(patches.knees):
        of_knee = regions.setdefault(knee, {})
        if np.isfinite(patches.values[index]).all():
            of_knee.setdefault((patches.compartments[index], patches.bones[index]), []).append(index)
    rows = {knee: _row(patches.values, of_knee) for knee, of_knee in sorted(regions.items())}
    kept = {knee: row for knee, row in rows.items() if row is not None}
    return Features(
        knees=tuple(kept),
        names=NAMES,
        values=np.array(list(kept.values()), dtype=np.float64).reshape(len(kept), len(NAMES)),
        excluded=tuple(knee for knee in rows if knee not in kept),
    )


def _row(
    values: NDArray[np.float64], regions: dict[tuple[Compartment, BoneName], list[int]]
) -> list[float] | None:
    means: dict[Compartment, list[NDArray[np.float64]]] = {}
    for (compartment, _), rows in regions.items():
        means.setdefault(compartment, []).append(values[rows].mean(axis=0))
    if set(means) != set(COMPARTMENTS):
        return None
    medial, lateral = np.mean(means["medial"], axis=0), np.mean(means["lateral"], axis=0)
    return [float(v) for pair in zip((medial + lateral) / 2, medial - lateral, strict=True) for v in pair]
