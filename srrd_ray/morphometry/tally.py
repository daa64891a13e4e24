"""Counts of the distinct values of a map, which add up exactly over any parts of a volume."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.maps import Spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Distinct values, rising, and their counts.

    Distances on a lattice take few values, so that a map of 10⁹ voxels has some thousands.
    Counts are whole numbers: merged in any order they give one result, to the last bit.
    """

    values: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @classmethod
    def from_values(cls, values: NDArray[np.floating]) -> Tally:
        """Return the tally of an array."""
        found, counts = np.unique(values, return_counts=True)
        return cls(values=tuple(found.astype(np.float64).tolist()), counts=tuple(counts.tolist()))

    @property
    def n(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    @property
    def spread(self) -> Spread | None:
        """Mean, population SD and maximum; null where there is no value or no wall (infinite)."""
        if not self.counts or not math.isfinite(self.values[-1]):
            return None
        pairs = list(zip(self.values, self.counts, strict=True))
        mean = math.fsum(v * c for v, c in pairs) / self.n
        variance = math.fsum(c * (v - mean) ** 2 for v, c in pairs) / self.n
        return Spread(mean=mean, sd=math.sqrt(variance), max=self.values[-1])

    def histogram(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many values lie between neighbouring `edges`."""
        counted: NDArray[np.float64] = np.histogram(self.values, edges, weights=self.counts)[0]
        return counted


def merge(parts: Iterable[Tally]) -> Tally:
    """Return the tally of all parts together."""
    known = list(parts)
    values = np.array([v for part in known for v in part.values])
    counts = np.array([c for part in known for c in part.counts], dtype=np.int64)
    if not values.size:
        return Tally()
    distinct, where = np.unique(values, return_inverse=True)
    total = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(total, where, counts)
    return Tally(values=tuple(distinct.tolist()), counts=tuple(total.tolist()))
