from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.simulation.anatomy import sample_anatomy
from srrd_ray.simulation.bones import TIBIA, build_bones
from srrd_ray.simulation.microstructure import (
    ROD_RANGE,
    Microstructure,
    sample_microstructure,
    texture_maps,
    texture_warp,
    volume_fraction,
    window_size,
)
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.scene import Extent, bone_shape


def profile(plan: SimulatedKnee, micro: Microstructure) -> tuple[float, float]:
    """Return medial tibial BV/TV 1 mm and 12 mm under the plateau."""
    a = sample_anatomy(plan)
    xyz = Extent(low=(a.centers_x[0] - 1, -1, -25), high=(a.centers_x[0] + 1, 1, 5)).nodes()
    shape, _ = bone_shape(build_bones(plan, a)[TIBIA], xyz)
    fraction = volume_fraction(np.random.default_rng(0), micro, 1, shape, xyz)
    near, deep = (np.abs(shape.under_joint - d) < 0.8 for d in (1.0, 12.0))
    return float(fraction[near].mean()), float(fraction[deep].mean())


def test_osteoarthritis_densifies_under_the_surface_and_thins_below(plan: SimulatedKnee) -> None:
    plan = replace(plan, valgus=False)
    micro = sample_microstructure(plan, sample_anatomy(plan))

    def with_effect(effect: float) -> Microstructure:
        femur, (medial, lateral) = micro.regions
        return replace(micro, regions=(femur, (replace(medial, effect=effect), lateral)))

    healthy, diseased = profile(plan, with_effect(0.0)), profile(plan, with_effect(0.4))
    assert diseased[0] > healthy[0] * 1.05
    assert diseased[1] < healthy[1] * 0.95


def test_bone_thins_with_depth(plan: SimulatedKnee) -> None:
    near, deep = profile(plan, sample_microstructure(plan, sample_anatomy(plan)))
    assert near > deep


def test_a_valgus_knee_wears_its_lateral_side(plan: SimulatedKnee) -> None:
    for valgus in (False, True):
        worn = replace(plan, kl_grade=4, oa=1, valgus=valgus)
        a = sample_anatomy(worn)
        assert (a.joint_space[1] < a.joint_space[0]) == valgus
        assert (a.left[1] < a.left[0]) == valgus


BOX = Extent(low=(-40, -5, -60), high=(40, 5, 0)).nodes()


def is_read_at(micro: Microstructure) -> list[NDArray[np.float64]]:
    """Return where the tibia's texture is read, x, y, z mm, at every node of `BOX`."""
    warp = texture_warp(np.random.default_rng(0), micro, 1, BOX)
    return [np.asarray(at + warp[f"warp_{axis}"], np.float64) for axis, at in zip("xyz", BOX, strict=True)]


def with_lateral_tibia(micro: Microstructure, **changed: float) -> Microstructure:
    """Return `micro`, the lateral tibia that of the medial but for `changed`."""
    femur, (medial, _) = micro.regions
    return replace(micro, regions=(femur, (medial, replace(medial, **changed))))


@pytest.fixture
def micro(plan: SimulatedKnee) -> Microstructure:
    return sample_microstructure(plan, sample_anatomy(plan))


def test_lines_of_load_draw_together_away_from_the_joint(micro: Microstructure) -> None:
    x = is_read_at(with_lateral_tibia(micro))[0]
    deep, shallow = (float((x[level, :, -1] - x[level, :, 0]).mean()) for level in (0, -1))
    assert deep > 1.15 * shallow


def test_each_compartment_has_its_own_wavelength(micro: Microstructure) -> None:
    medial = micro.regions[1][0]
    z = is_read_at(with_lateral_tibia(micro, wavelength_mm=0.7 * medial.wavelength_mm))[2]
    lateral, own = (float((z[-1, :, side] - z[0, :, side]).mean()) for side in (0, -1))
    assert lateral / own == pytest.approx(1 / 0.7, rel=0.1)


def test_the_map_of_a_bone_has_the_mean_wavelength_of_its_compartments(micro: Microstructure) -> None:
    wavelengths = [region.wavelength_mm for region in micro.regions[1]]
    linear = texture_maps(np.random.default_rng(0), micro, 1)[0, :, :3]
    assert np.linalg.det(linear) ** (-1 / 3) * 10 == pytest.approx(np.sqrt(np.prod(wavelengths)))


def test_windows_are_larger_where_the_region_is_rod_like_and_vary_within_it(micro: Microstructure) -> None:
    medial = micro.regions[1][0]
    size = window_size(np.random.default_rng(0), with_lateral_tibia(micro, rod=medial.rod + 0.3), 1, BOX)
    assert size[:, :, :20].mean() > size[:, :, -20:].mean() + 0.15
    assert size[:, :, -20:].std() > 0.02
    assert size.min() >= np.float32(ROD_RANGE[0])


def test_dense_streaks_run_along_the_load(plan: SimulatedKnee, micro: Microstructure) -> None:
    xyz = Extent(low=(10, -8, -40), high=(26, 8, -24)).nodes()
    shape, _ = bone_shape(build_bones(plan, sample_anatomy(plan))[TIBIA], xyz)
    log = np.log(volume_fraction(np.random.default_rng(0), micro, 1, shape, xyz))
    along, across = (np.diff(log, axis=axis).std() for axis in (0, 1))
    assert along < across
