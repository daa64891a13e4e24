"""Where voxels are: the affine from voxel indices to LPS millimetres, and nothing else.

Arrays are (z, y, x). `ijk_to_lps` maps the column (i, j, k, 1),
with i the index along x (the array's LAST axis), to LPS millimetres (+x left, +y posterior, +z superior).
Voxel centres are at whole indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.core.errors import InputError

Row4: TypeAlias = tuple[float, float, float, float]
Matrix4: TypeAlias = tuple[Row4, Row4, Row4, Row4]
Shape: TypeAlias = tuple[int, int, int]
Points: TypeAlias = NDArray[np.float64]


def matrix4(values: ArrayLike) -> Matrix4:
    """Return 4×4 `values` as nested tuples of floats: hashable, comparable, and plain JSON."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (4, 4) or not np.isfinite(array).all():
        raise InputError(
            "affine-invalid", "not a finite 4x4 matrix", got=f"shape {array.shape}", expected="(4, 4)"
        )
    a, b, c, d = (tuple(float(v) for v in row) for row in array)
    return (a, b, c, d)  # type: ignore[return-value]  # each row has four floats: checked above


def transform_points(matrix: ArrayLike, points: ArrayLike) -> Points:
    """Return `points` (…, 3) mapped by the 4×4 `matrix`."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ m[:3, :3].T + m[:3, 3]


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """The grid of a volume.

    Parameters
    ----------
    shape
        (z, y, x) voxel counts.
    ijk_to_lps
        4×4 affine from (i, j, k) = (x, y, z) indices to LPS mm.

    Raises
    ------
    InputError
        `affine-invalid` where a spacing is zero or not finite, or the axes are linearly dependent.

    Examples
    --------
    Shape, spacing and index are (z, y, x), places are (x, y, z) in LPS mm.

    >>> ct = Geometry.axis_aligned((40, 64, 48), (1.5, 0.5, 0.25), first_voxel_lps=(-10, 20, 300))
    >>> ct.spacing_mm
    (1.5, 0.5, 0.25)
    >>> ct.index_to_lps((2, 0, 4)).tolist()
    [-9.0, 20.0, 303.0]
    >>> ct.lps_to_index((-9, 20, 303)).tolist()
    [2.0, 0.0, 4.0]

    A crop keeps every voxel in its place; a grid that is rescaled keeps the field of view, so its voxel
    centres move.

    >>> ct.crop((2, 0, 4), (10, 10, 10)).index_to_lps((0, 0, 0)).tolist()
    [-9.0, 20.0, 303.0]
    >>> half = ct.rescaled((20, 32, 24))
    >>> half.spacing_mm
    (3.0, 1.0, 0.5)
    >>> half.index_to_lps((0, 0, 0)).tolist()
    [-9.875, 20.25, 300.75]
    """

    shape: Shape
    ijk_to_lps: Matrix4

    def __post_init__(self) -> None:
        linear = self.affine[:3, :3]
        lengths = np.linalg.norm(linear, axis=0)
        if not (np.isfinite(lengths).all() and (lengths > 0).all()):
            raise InputError(
                "affine-invalid", "voxel spacing must be positive and finite", got=str(lengths.tolist())
            )
        if abs(np.linalg.det(linear / lengths)) < 1e-3:
            raise InputError("affine-invalid", "voxel axes are linearly dependent", got=str(linear.tolist()))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError("shape-invalid", "a volume has three axes", got=str(self.shape))

    @classmethod
    def from_affine(cls, shape: Shape, affine: ArrayLike) -> Geometry:
        """Return a geometry from any (z, y, x) shape and 4×4 array."""
        z, y, x = (int(n) for n in shape)
        return cls(shape=(z, y, x), ijk_to_lps=matrix4(affine))

    @classmethod
    def axis_aligned(
        cls, shape: Shape, spacing_mm: ArrayLike, first_voxel_lps: ArrayLike = (0.0, 0.0, 0.0)
    ) -> Geometry:
        """Return a grid along the LPS axes: `spacing_mm` is (z, y, x),
        `first_voxel_lps` the centre of voxel (0, 0, 0).
        """
        affine = np.eye(4)
        affine[:3, :3] = np.diag(np.asarray(spacing_mm, dtype=np.float64)[::-1])
        affine[:3, 3] = first_voxel_lps
        return cls.from_affine(shape, affine)

    @property
    def affine(self) -> NDArray[np.float64]:
        """`ijk_to_lps` as a new float64 array (4, 4)."""
        return np.array(self.ijk_to_lps, dtype=np.float64)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the array axes (z, y, x), mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel, mm³."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def index_to_lps(self, zyx: ArrayLike) -> Points:
        """Return LPS mm of (…, 3) array indices given as (z, y, x); fractions allowed."""
        return transform_points(self.affine, np.asarray(zyx, dtype=np.float64)[..., ::-1])

    def lps_to_index(self, lps: ArrayLike) -> Points:
        """Return (…, 3) fractional array indices (z, y, x) of LPS mm points."""
        return transform_points(np.linalg.inv(self.affine), lps)[..., ::-1]

    def lps_axes(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Return for x, y and z the index axis (i, j, k) closest to it, and whether it runs backward."""
        steps = self.affine[:3, :3]
        steps = steps / np.linalg.norm(steps, axis=0)
        column = max(permutations(range(3)), key=lambda columns: sum(np.abs(steps[range(3), columns])))
        return column, tuple(bool(steps[world, column[world]] < 0) for world in range(3))

    def lps_order(self) -> Geometry:
        """Return the grid of the same voxels with axes as close to LPS as the storage order allows.

        >>> turned = np.array([[0, 0, -2.0, 9], [1.0, 0, 0, 5], [0, 4.0, 0, 7], [0, 0, 0, 1]])
        >>> grid = Geometry.from_affine((3, 10, 20), turned).lps_order()
        >>> grid.shape, grid.spacing_mm, grid.index_to_lps((0, 0, 0)).tolist()
        ((10, 20, 3), (4.0, 1.0, 2.0), [5.0, 5.0, 7.0])
        """
        column, backward = self.lps_axes()
        sizes, turn = self.shape[::-1], np.eye(4)
        turn[:3, :3] = 0
        for world, axis in enumerate(column):
            turn[axis, world] = -1 if backward[world] else 1
            turn[axis, 3] = sizes[axis] - 1 if backward[world] else 0
        x, y, z = (sizes[axis] for axis in column)
        return Geometry.from_affine((z, y, x), self.affine @ turn)

    def crop(self, start: Shape, shape: Shape) -> Geometry:
        """Return the grid of ``array[start : start + shape]``;
        `start` is (z, y, x) and may be negative (padding).
        """
        affine = self.affine
        affine[:3, 3] = self.index_to_lps(start)
        return Geometry.from_affine(shape, affine)

    def rescaled(self, shape: Shape) -> Geometry:
        """Return a grid of `shape` over the same field of view (voxel edges kept, centres moved)."""
        factor = np.asarray(self.shape, dtype=np.float64) / np.asarray(shape, dtype=np.float64)
        affine = self.affine
        affine[:3, 3] = self.index_to_lps((factor - 1) / 2)
        affine[:3, :3] = affine[:3, :3] * factor[::-1]
        return Geometry.from_affine(shape, affine)

    def corners_lps(self) -> Points:
        """Return the LPS positions (8, 3) of the centres of the eight corner voxels."""
        ends = [(0, n - 1) for n in self.shape]
        return self.index_to_lps(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, 8).T)

    def matches(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Return whether both grids have the same shape, and corner
        voxels that differ by at most `tolerance_mm`.
        """
        return self.shape == other.shape and bool(
            np.abs(self.corners_lps() - other.corners_lps()).max() <= tolerance_mm
        )
