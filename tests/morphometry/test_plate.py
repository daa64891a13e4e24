from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.morphometry.plate import plate_by_mass, plate_thickness

Real = NDArray[np.float64]
UP = (-1.0, 0.0, 0.0)


def grids(shape: tuple[int, int, int], steps: tuple[float, float, float]) -> list[Real]:
    return [g * s for g, s in zip(np.ogrid[: shape[0], : shape[1], : shape[2]], steps, strict=True)]


def block(thickness_mm: float, step: float = 0.2) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """A flat joint surface at z = 2 mm over a plate, with marrow under it."""
    z, y, x = grids((50, 30, 30), (step,) * 3)
    under = z - (2.0 - step / 2) + 0 * y + 0 * x
    return (under > 0) & (under < thickness_mm), under > 0


@pytest.mark.parametrize("thickness", [0.8, 1.2, 2.0])
def test_a_flat_plate_has_its_thickness(thickness: float) -> None:
    bone, inside = block(thickness)
    found = plate_thickness(bone, inside, 0.2, UP)
    assert found.mean_mm == pytest.approx(thickness, abs=0.05)
    assert found.sd_mm < 0.02
    assert found.deep == 0.0


def test_trabeculae_on_the_plate_are_no_plate() -> None:
    bone, inside = block(1.2)
    _, y, x = grids((50, 30, 30), (0.2,) * 3)
    bone |= inside & (np.mod(y, 1.0) < 0.35) & (np.mod(x, 1.0) < 0.35)
    assert plate_thickness(bone, inside, 0.2, UP).mean_mm == pytest.approx(1.2, abs=0.12)


@pytest.mark.parametrize("steps", [(0.2, 0.2, 0.2), (0.4, 0.2, 0.2)])
def test_a_round_plate_is_measured_along_its_normals(steps: tuple[float, float, float]) -> None:
    n = tuple(round(14 / s) for s in steps)
    z, y, x = (g - 6.9 for g in grids((n[0], n[1], n[2]), steps))
    away = np.sqrt(z * z + y * y + x * x)
    found = plate_thickness((away < 6.0) & (away > 4.6), away < 6.0, steps, UP)
    assert found.mean_mm == pytest.approx(1.4, abs=0.1)


def test_the_articular_surface_may_be_given_as_a_mask() -> None:
    bone, inside = block(1.2)
    bone[:, :15] |= inside[:, :15] & block(2.0)[0][:, :15]
    chosen = np.zeros_like(inside)
    chosen[:, 20:28] = True
    assert plate_thickness(bone, inside, 0.2, chosen).mean_mm == pytest.approx(1.2, abs=0.05)


def test_a_place_without_plate_counts_as_zero() -> None:
    bone, inside = block(1.2)
    bone[:, :, :15] = False
    assert plate_thickness(bone, inside, 0.2, UP, lateral_mm=0.0).mean_mm == pytest.approx(0.6, abs=0.06)


def test_solid_bone_has_no_plate() -> None:
    _, inside = block(1.0)
    with pytest.raises(NotEstimableError, match="plate-unknown"):
        plate_thickness(inside, inside, 0.2, UP)


def test_a_bone_that_faces_no_joint_has_no_plate() -> None:
    bone, inside = block(1.0)
    with pytest.raises(NotEstimableError, match="plate-unknown"):
        plate_thickness(bone, inside, 0.2, (1.0, 0.0, 0.0))


@pytest.mark.parametrize("thickness_mm", [0.4, 0.8, 1.6])
@pytest.mark.parametrize("surface_mm", [-0.3, 0.0, 0.3])
def test_by_mass_a_plate_keeps_its_thickness_under_blur_and_a_surface_drawn_elsewhere(
    thickness_mm: float, surface_mm: float
) -> None:
    h, top = 0.1, 9.05
    z = np.arange(120) * h
    profile = np.where(z > top, 0.06, np.where(z > top - thickness_mm, 1.0, 0.25))
    sharp = np.broadcast_to(profile[:, None, None], (120, 60, 60))
    blurred = ndimage.gaussian_filter(sharp, (3.6, 0, 0)).reshape(20, 6, 20, 3, 20, 3).mean(axis=(1, 3, 5))
    inside = np.broadcast_to((z < top + surface_mm)[:, None, None], (120, 60, 60))
    label = inside.reshape(20, 6, 20, 3, 20, 3).mean(axis=(1, 3, 5)) > 0.5
    found = plate_by_mass(blurred, label, (0.6, 0.3, 0.3), (1, 0, 0))
    assert found.mean_mm == pytest.approx(thickness_mm, abs=0.12)


def test_a_tilted_plate_reads_right_though_most_of_it_is_near_the_edge_of_the_image() -> None:
    z, y, _ = np.meshgrid(*(np.arange(n) * 0.2 for n in (50, 30, 30)), indexing="ij")
    under = (z - 5.0) * np.cos(np.radians(40)) + (y - 3.0) * np.sin(np.radians(40))
    plate, below = (np.clip((under - depth) / 0.2 + 0.5, 0, 1) for depth in (0.0, 1.6))
    blurred = ndimage.gaussian_filter(plate * (1 - below) + 0.2 * below, 2.0, mode="nearest")
    assert plate_by_mass(blurred, under > 0, 0.2, UP).mean_mm == pytest.approx(1.6, abs=0.06)
