"""Both knees in one field of view: separated at the gap between their bones (CT) or legs (MR),
and cropped to one side.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Shape
from srrd_ray.core.records import Modality, Side
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.source import Note

Image: TypeAlias = "Volume[np.int16] | Volume[np.float32]"

BONE_HU = 200
ONE_KNEE_MM = 180.0
SMALLEST_KNEE_MM = 40.0
WIDEST_KNEE_MM = 160.0
JOIN_MM = 12.0
SHARE = 0.02


def crop_to_side(
    image: Image, modality: Modality, side: Side | None, where: str
) -> tuple[Image, tuple[Note, ...]]:
    """Return the part of `image` that shows the knee of `side`, and a note where there were two.

    The left knee is the one of larger LPS x. An image less than 180 mm wide is taken as one knee.

    Raises
    ------
    InputError
        `both-knees` where two knees cannot be separated, or no side is known.
    """
    axis, toward_left = _left_right(image)
    step = image.geometry.spacing_mm[axis]
    if image.geometry.shape[axis] * step < ONE_KNEE_MM:
        return image, ()
    runs = _runs(_profile(image.array, modality, axis), step)
    if len(runs) == 1 and (runs[0][1] - runs[0][0]) * step > WIDEST_KNEE_MM:
        raise _inseparable_error(where, "the bones of both sides touch in projection")
    if len(runs) < 2:
        return image, ()
    if len(runs) > 2 or side is None:
        raise _inseparable_error(where, f"{len(runs)} parts" if side else "no side is given")
    cut = (runs[0][1] + runs[1][0]) // 2
    upper = (side == "L") == toward_left
    part = _part(image, axis, cut, upper=upper)
    text = f"both knees in one image: the {side} one kept, cut {cut * step:.0f} mm from the edge"
    return part, (Note(severity="FIX", code="both-knees", message=text),)


def _left_right(image: Image) -> tuple[int, bool]:
    """Return the array axis along left-right, and whether its index grows toward the left (+x)."""
    columns = image.geometry.affine[0, :3] / np.linalg.norm(image.geometry.affine[:3, :3], axis=0)
    i = int(np.argmax(np.abs(columns)))
    return 2 - i, bool(columns[i] > 0)


def _profile(
    values: NDArray[np.int16] | NDArray[np.float32], modality: Modality, axis: int
) -> NDArray[np.float64]:
    """Return the count of bone (CT) or tissue (MR) voxels in each plane across `axis`."""
    threshold = BONE_HU if modality == "ct" else 0.2 * float(np.percentile(values[::4, ::4, ::4], 95))
    others = tuple(a for a in range(3) if a != axis)
    return np.asarray((values > threshold).sum(axis=others), dtype=np.float64)


def _runs(profile: NDArray[np.float64], step: float) -> list[tuple[int, int]]:
    """Return the (start, stop) of every stretch that is wide enough for a knee; narrow gaps are closed."""
    full = profile > SHARE * profile.max()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], full.astype(np.int8), [0]])))
    joined: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if joined and (start - joined[-1][1]) * step < JOIN_MM:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return [run for run in joined if (run[1] - run[0]) * step >= SMALLEST_KNEE_MM]


def _part(image: Image, axis: int, cut: int, *, upper: bool) -> Image:
    start, shape = [0, 0, 0], list(image.geometry.shape)
    start[axis], shape[axis] = (cut, shape[axis] - cut) if upper else (0, cut)
    return image.crop(_triple(start), _triple(shape))


def _triple(values: list[int]) -> Shape:
    z, y, x = values
    return z, y, x


def _inseparable_error(where: str, got: str) -> InputError:
    return InputError(
        "both-knees",
        "both knees are in one image and cannot be separated",
        where=where,
        got=got,
        expected="one knee, or two with a gap between their bones",
        todo="Crop the image to one knee, or name the side.",
    )
