"""An image in space: an array with its geometry, and how one is sampled at points or onto another grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape, transform_points

Scalar = TypeVar("Scalar", bound=np.generic, covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Volume(Generic[Scalar]):
    """A (z, y, x) array and the grid it lies on; the two shapes agree."""

    array: NDArray[Scalar]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise InputError(
                "shape-invalid",
                "array and grid differ",
                got=str(self.array.shape),
                expected=str(self.geometry.shape),
            )

    def crop(self, start: Shape, shape: Shape) -> Volume[Scalar]:
        """Return a view of the box of `shape` at `start`, both (z, y, x), inside the array."""
        window = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
        return Volume(array=self.array[window], geometry=self.geometry.crop(start, shape))

    def in_lps_order(self) -> NDArray[Scalar]:
        """Return a view of the voxels with axes (z, y, x) as close to LPS as the storage order allows."""
        column, backward = self.geometry.lps_axes()
        turned = self.array.transpose([2 - column[world] for world in (2, 1, 0)])
        return turned[tuple(slice(None, None, -1 if backward[world] else 1) for world in (2, 1, 0))]

    def to_lps_order(self) -> Volume[Scalar]:
        """Return a view with axes as close to LPS as the storage order allows: no voxel moves."""
        return Volume(array=self.in_lps_order(), geometry=self.geometry.lps_order())

    def at(self, lps: ArrayLike, *, order: int = 1, fill: float = 0.0) -> NDArray[np.float32]:
        """Return the values at LPS points (…, 3), interpolated by splines of `order`;
        `fill` outside the grid.
        """
        index = np.moveaxis(self.geometry.lps_to_index(lps), -1, 0)
        source = self.array.astype(np.float32, copy=False)
        sampled: NDArray[np.float32] = ndimage.map_coordinates(
            source, index, order=order, mode="constant", cval=fill, output=np.float32
        )
        return sampled

    def resample_onto(
        self, grid: Geometry, to_self: ArrayLike | None = None, *, order: int = 1, fill: float = 0.0
    ) -> Volume[np.float32]:
        """Return this volume resampled on `grid`.

        `to_self` is the 4×4 transform from the world of `grid` (fixed) to the world of this volume (moving),
        LPS mm; the identity where absent. The whole map is one affine, so no table of points is made.
        """
        world = np.eye(4) if to_self is None else np.asarray(to_self, dtype=np.float64)
        ijk = np.linalg.inv(self.geometry.affine) @ world @ grid.affine
        zyx = ijk[:3, :3][::-1, ::-1]
        sampled: NDArray[np.float32] = ndimage.affine_transform(
            self.array.astype(np.float32, copy=False),
            zyx,
            offset=transform_points(ijk, np.zeros(3))[::-1],
            output_shape=grid.shape,
            order=order,
            mode="constant",
            cval=fill,
            output=np.float32,
        )
        return Volume(array=sampled, geometry=grid)
