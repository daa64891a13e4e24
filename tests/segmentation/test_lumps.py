from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import FEMUR, TIBIA
from srrd_ray.segmentation.lumps import find_lump
from srrd_ray.segmentation.shape_fit import surface_of
from tests.segmentation.planted import shaped_knee

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
ABOVE_THE_CONDYLE = np.array([-30.0, -22.0, 48.0])
"""Beside the shaft of a left femur, where the vastus medialis lies, LPS mm."""


def bone(number: int, spacing: float = 2.0) -> Volume[np.bool_]:
    labels = shaped_knee("L")
    grid = Geometry.axis_aligned(
        (int(118 / spacing),) * 2 + (int(98 / spacing),), (spacing,) * 3, (-48, -58, -58)
    )
    inside = Volume(array=(labels.array == number).astype(np.float32), geometry=labels.geometry)
    return Volume(array=inside.resample_onto(grid).array > 0.5, geometry=grid)


def ball(of: Volume[np.bool_], radius: float, at: Points = ABOVE_THE_CONDYLE) -> Mask:
    where = of.geometry.index_to_lps(np.moveaxis(np.indices(of.array.shape), 0, -1))
    inside: Mask = np.linalg.norm(where - at, axis=-1) < radius
    return inside & ~of.array


@pytest.mark.parametrize(("number", "spacing"), [(FEMUR, 2.0), (TIBIA, 2.0), (FEMUR, 1.5)])
def test_a_bone_of_people_has_no_lump_also_where_little_of_it_is_seen(number: int, spacing: float) -> None:
    whole = bone(number, spacing)
    assert find_lump(whole, number, None) is None
    middle = int(58 / spacing)
    part = slice(middle - int(5 / spacing), middle + int(30 / spacing))
    if number == TIBIA:
        part = slice(middle - int(30 / spacing), middle + int(5 / spacing))
    start, shape = (part.start, 0, 0), (part.stop - part.start, *whole.array.shape[1:])
    assert find_lump(whole.crop(start, shape), number, None) is None


@pytest.mark.parametrize("spacing", [1.5, 2.0])
def test_what_bulges_out_of_it_is_told_and_cut_off_down_to_its_surface(spacing: float) -> None:
    clean = bone(FEMUR, spacing)
    grown = ball(clean, 16)
    lump = find_lump(Volume(array=clean.array | grown, geometry=clean.geometry), FEMUR, None)
    assert lump is not None
    voxel_cm3 = clean.geometry.voxel_mm3 / 1000
    assert (lump.mask & grown).sum() > 0.85 * grown.sum()
    assert (lump.mask & clean.array).sum() * voxel_cm3 < 1.0
    assert lump.cm3 == pytest.approx(grown.sum() * voxel_cm3, rel=0.2)
    assert lump.farthest_mm > 15
    assert lump.misfit_mm < 1.0
    assert lump.on_edges is None


def test_a_small_bump_is_none() -> None:
    clean = bone(FEMUR)
    points, normals = surface_of(clean)
    at = np.linalg.norm(points - ABOVE_THE_CONDYLE, axis=1).argmin()
    bump = ball(clean, 6, points[at] + 3 * normals[at])
    assert bump.sum() * clean.geometry.voxel_mm3 > 500
    assert find_lump(Volume(array=clean.array | bump, geometry=clean.geometry), FEMUR, None) is None


@pytest.mark.parametrize(("beyond", "share"), [(600.0, (0.85, 1.0)), (100.0, (0.0, 0.75))])
def test_an_edge_of_the_image_at_the_cut_is_seen_and_its_absence_too(
    beyond: float, share: tuple[float, float]
) -> None:
    clean = bone(FEMUR)
    grown = ball(clean, 16)
    rng = np.random.default_rng(0)
    grey = np.where(clean.array, 100.0, np.where(grown, beyond, 600.0)) + rng.normal(0, 10, clean.array.shape)
    image = Volume(array=grey.astype(np.float32), geometry=clean.geometry)
    lump = find_lump(Volume(array=clean.array | grown, geometry=clean.geometry), FEMUR, image)
    assert lump is not None
    assert lump.on_edges is not None
    assert share[0] <= lump.on_edges <= share[1]


def test_too_little_of_a_bone_is_not_judged() -> None:
    grid = Geometry.axis_aligned((20, 20, 20), (2.0,) * 3)
    scrap = np.zeros(grid.shape, np.bool_)
    scrap[8:12, 8:12, 8:12] = True
    assert find_lump(Volume(array=scrap, geometry=grid), FEMUR, None) is None
