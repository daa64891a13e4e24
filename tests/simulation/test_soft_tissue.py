import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.simulation.anatomy import Anatomy, sample_anatomy
from srrd_ray.simulation.bones import FEMUR, PATELLA, TIBIA, Bone, build_bones
from srrd_ray.simulation.compose import SOFT_CHANNELS
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.scene import Extent
from srrd_ray.simulation.shape_model import read_data, templates
from srrd_ray.simulation.soft_tissue import layout, mean_coordinates, menisci, soft_tissue

BOX = Extent(low=(-70.0, -75.0, -40.0), high=(70.0, 75.0, 60.0))


@pytest.fixture(scope="module")
def knee(plan: SimulatedKnee) -> tuple[Anatomy, tuple[Bone, ...]]:
    a = sample_anatomy(plan)
    return a, build_bones(plan, a)


def test_soft_tissue_is_in_layers_from_muscle_to_skin(knee: tuple[Anatomy, tuple[Bone, ...]]) -> None:
    a, bones = knee
    found = soft_tissue(np.random.default_rng(0), a, bones, BOX.nodes(3.0))
    assert found.keys() == set(SOFT_CHANNELS)
    assert (found["muscle"] <= found["fascia"] + 1e-4).all()
    assert (found["limb"] > found["fascia"]).mean() > 0.99
    inside = found["limb"] > 0
    assert 0.1 < (found["muscle"] > 0)[inside].mean() < 0.6
    assert 0.005 < (found["ligament"] > 0)[inside].mean() < 0.1


def _in_the_mean_knee(bones: tuple[Bone, ...], point: NDArray[np.float64]) -> NDArray[np.float32]:
    x, y, z = (np.full((1, 1, 1), v) for v in point)
    return np.asarray(mean_coordinates(bones, (x, y, z))[0, 0, 0])


def test_the_points_of_bone_are_where_the_mean_bones_have_them(
    knee: tuple[Anatomy, tuple[Bone, ...]],
) -> None:
    _, bones = knee
    for n in (FEMUR, TIBIA, PATELLA):
        near = np.abs(bones[n].model[:, 2]) < 60
        here, there = bones[n].model[near], templates()[n].mean[near]
        at = np.array([_in_the_mean_knee(bones, point) for point in here[::60]])
        assert (
            np.linalg.norm(at - there[::60], axis=1).mean()
            < 0.6 * np.linalg.norm(here - there, axis=1).mean() + 0.5
        )


def test_a_meniscus_is_a_ring_open_towards_the_middle() -> None:
    x, y = np.meshgrid(np.arange(-45.0, 46), np.arange(-40.0, 41))
    ring = menisci(x.astype(np.float32), y.astype(np.float32)) > 0
    medial, lateral = ring & (x > 0), ring & (x < 0)
    for part in (medial, lateral):
        assert 350 < part.sum() < 1100
    assert not ring[(np.abs(x) < 3) & (np.abs(y) < 6)].any()
    for name in ("medial", "lateral"):
        right, behind = read_data("knee_tissues.npz")[f"{name}_meniscus_mm"][:2].astype(np.float64)
        assert not ring[np.hypot(x - right, y - behind) < 8].any()


def test_every_structure_of_the_atlas_has_its_cross_sections() -> None:
    plan = layout()
    assert len(plan.sections) == 32
    kinds = [s.kind for s in plan.sections.values()]
    assert (kinds.count("muscle"), kinds.count("vessel"), kinds.count("ligament")) == (16, 4, 12)
    for section in plan.sections.values():
        assert section.radii.max() > 1
        assert section.radii.min() >= 0
