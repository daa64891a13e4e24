"""Left or right, from the bones: where the fibula lies, how the patella sits, which plateau is deeper."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import FEMUR, FIBULA, PATELLA, TIBIA

Points = NDArray[np.float64]
CERTAIN: Final = 0.95
"""Confidence from which a side that contradicts is a fault."""
WEIGHTS: Final = {"fibula": 30.0, "patella": 20.0, "plateau": 10.0}
"""Log odds for each cue, which is a share of a bone's width: below what simulated knees would allow
(`benchmarks/segmenter.py --sides`), as people differ more.
"""
MOST: Final = {"fibula": 6.0, "patella": 3.5, "plateau": 1.5}
"""Log odds that a cue has at most: the plateau alone, right in two knees of three, never makes certain."""
LEAST_CM3: Final = {"fibula": 0.5, "patella": 3.0}
PLATEAU_MM: Final = 10.0
"""Of the upper tibia whose depth is compared: above the tubercle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideFound:
    """The side that the anatomy shows, how sure it is (0.5 to 1), and each cue: positive for a left knee."""

    side: Side
    confidence: float
    cues: dict[str, float]

    @property
    def certain(self) -> bool:
        """Whether it may contradict what a table says."""
        return self.confidence >= CERTAIN


def find_side(labels: Volume[np.uint8]) -> SideFound:
    """Return the side of a knee from its labels (`CLASSES`).

    Lateral is towards +x (patient's left) in a left knee. The fibula is lateral; the patella sits lateral of
    the middle of the femur; the medial plateau is the deeper one from front to back.
    """
    cues = {
        name: value
        for name, value in (
            ("fibula", _fibula(labels)),
            ("patella", _patella(labels)),
            ("plateau", _plateau(labels)),
        )
        if value is not None
    }
    odds = sum(max(-MOST[name], min(MOST[name], WEIGHTS[name] * value)) for name, value in cues.items())
    left = 1 / (1 + exp(-odds))
    return SideFound(side="L" if left >= 0.5 else "R", confidence=max(left, 1 - left), cues=cues)


def require_side(found: SideFound, expected: Side) -> None:
    """Refuse a knee whose anatomy is certain to be of the other side.

    Raises
    ------
    InputError
        `side-mismatch`.
    """
    if found.certain and found.side != expected:
        words = {"L": "a left knee", "R": "a right knee"}
        raise InputError(
            "side-mismatch", "the bones are those of the other side",
            got=f"{words[found.side]}, confidence {found.confidence:.3f}", expected=words[expected],
            todo="Correct the side of this knee in knees.tsv, or the orientation of the image.",
        )  # fmt: skip


def _points(labels: Volume[np.uint8], number: int) -> Points:
    """Return the voxels of a bone in LPS mm, a sample of them where they are many."""
    where = np.argwhere(labels.array == number)
    return labels.geometry.index_to_lps(where[:: max(len(where) // 60_000, 1)])


def _cm3(labels: Volume[np.uint8], number: int) -> float:
    return float((labels.array == number).sum()) * labels.geometry.voxel_mm3 / 1000


def _fibula(labels: Volume[np.uint8]) -> float | None:
    """Return how far the fibula lies from the middle of the tibia at its level, in widths of the tibia."""
    if _cm3(labels, FIBULA) < LEAST_CM3["fibula"] or not (labels.array == TIBIA).any():
        return None
    fibula, tibia = _points(labels, FIBULA), _points(labels, TIBIA)
    beside = tibia[(tibia[:, 2] >= fibula[:, 2].min()) & (tibia[:, 2] <= fibula[:, 2].max())]
    if not len(beside):
        return None
    return float((fibula[:, 0].mean() - beside[:, 0].mean()) / np.ptp(tibia[:, 0]))


def _patella(labels: Volume[np.uint8]) -> float | None:
    """Return how far the patella lies from the middle of the femur, in widths of the femur."""
    if _cm3(labels, PATELLA) < LEAST_CM3["patella"] or not (labels.array == FEMUR).any():
        return None
    patella, femur = _points(labels, PATELLA), _points(labels, FEMUR)
    low, high = np.percentile(femur[:, 0], [1, 99])
    return float((patella[:, 0].mean() - (low + high) / 2) / (high - low))


def _plateau(labels: Volume[np.uint8]) -> float | None:
    """Return how much deeper, front to back, the half of the upper tibia towards -x is than the other one."""
    tibia = _points(labels, TIBIA)
    if len(tibia) < 500:
        return None
    top = tibia[tibia[:, 2] > np.percentile(tibia[:, 2], 99.5) - PLATEAU_MM]
    low, high = np.percentile(top[:, 0], [1, 99])
    across = (top[:, 0] - low) / max(high - low, 1e-6)
    right, left = (top[(across > a) & (across < b), 1] for a, b in ((0.1, 0.4), (0.6, 0.9)))
    if min(len(right), len(left)) < 50:
        return None
    depth_right, depth_left = (float(np.ptp(np.percentile(half, [2, 98]))) for half in (right, left))
    return (depth_right - depth_left) / (depth_right + depth_left)
