"""The picture of a measured bone volume, from its maps in memory or in stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.imaging import block_store
from srrd_ray.imaging.foreign_zarr import open_image
from srrd_ray.measurement.result import Mapped
from srrd_ray.morphometry.tally import Tally
from srrd_ray.report.bone_picture import BonePicture, Plane, bone_figure
from srrd_ray.report.style import png_bytes, styled
from srrd_ray.storage.atomic import replacing

Planes = tuple[Plane, Plane, Plane]


def picture_from_maps(title: str, mapped: Mapped) -> BonePicture:
    """Return the picture of a volume that was measured in one piece."""
    maps = mapped.maps
    return BonePicture(
        title=title,
        thickness=_middle(maps.thickness_mm),
        spacing=_middle(maps.separation_mm),
        steps_mm=maps.spacing_mm,
        bone=Tally.from_values(maps.diameter_mm[mapped.region & maps.bone]),
        marrow=Tally.from_values(maps.diameter_mm[mapped.region & ~maps.bone]),
    )


def picture_from_stores(
    title: str, maps: tuple[Path, Path], steps_mm: tuple[float, float, float], tallies: tuple[Tally, Tally]
) -> BonePicture:
    """Return the picture of a volume from the stores of its maps; three planes of each are read."""
    thickness, spacing = (_stored_middle(path) for path in maps)
    return BonePicture(
        title=title,
        thickness=thickness,
        spacing=spacing,
        steps_mm=steps_mm,
        bone=tallies[0],
        marrow=tallies[1],
    )


def write_picture(path: Path, picture: BonePicture) -> None:
    """Write the picture as a PNG, whole or not at all."""
    with styled():
        image = png_bytes(bone_figure(picture), dpi=130)
    with replacing(path) as temporary:
        temporary.write_bytes(image)


def _middle(values: NDArray[np.floating]) -> Planes:
    z, y, x = (n // 2 for n in values.shape)
    a, b, c = (np.asarray(plane, dtype=np.float32) for plane in (values[z], values[:, y], values[:, :, x]))
    return a, b, c


def _stored_middle(path: Path) -> Planes:
    nz, ny, nx = open_image(path)[0].shape
    z, y, x = nz // 2, ny // 2, nx // 2
    everything = (slice(0, nz), slice(0, ny), slice(0, nx))
    across_z = block_store.read_block(path, (slice(z, z + 1), *everything[1:]))[0]
    across_y = block_store.read_block(path, (everything[0], slice(y, y + 1), everything[2]))[:, 0]
    across_x = block_store.read_block(path, (*everything[:2], slice(x, x + 1)))[:, :, 0]
    a, b, c = (np.asarray(plane, dtype=np.float32) for plane in (across_z, across_y, across_x))
    return a, b, c
