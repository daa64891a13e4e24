import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.simulation.labels import LABELS, label_map, pose_shapes
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.scene import Extent

LEAST = {
    "femur": 1500,
    "tibia": 1000,
    "patella": 200,
    "fibula": 50,
    "cartilage": 300,
    "meniscus": 30,
    "muscle": 3000,
    "fat": 5000,
    "ligament": 500,
    "skin": 800,
}
"""Voxels of 3 mm that each tissue has at least."""
BOX = Extent(low=(-75.0, -80.0, -40.0), high=(75.0, 80.0, 60.0))


@pytest.fixture(scope="module")
def labels(plan: SimulatedKnee) -> Volume[np.uint8]:
    scene, sessions = pose_shapes(plan, BOX)
    middle = sessions["ct"].joint_line()[:3, 3]
    grid = Geometry.axis_aligned((30, 50, 45), (3.0, 3.0, 3.0), middle - np.array([67.0, 75.0, 35.0]))
    return label_map(scene, sessions["ct"].bone_from_world(), grid, cortex=True)


def count(labels: Volume[np.uint8], name: str) -> int:
    return int((labels.array == LABELS[name]).sum())


def test_all_tissues_are_there_in_sizes_of_a_knee(labels: Volume[np.uint8]) -> None:
    for name, least in LEAST.items():
        assert count(labels, name) > least, name


def test_the_fibula_is_lateral_and_the_patella_in_front(labels: Volume[np.uint8]) -> None:
    def middle(name: str) -> NDArray[np.float64]:
        voxels = np.argwhere(labels.array == LABELS[name])
        return np.asarray(labels.geometry.index_to_lps(voxels).mean(axis=0))

    assert (middle("fibula") - middle("tibia"))[0] > 15  # the plan's is a left knee: lateral is towards +x
    assert (middle("patella") - middle("femur"))[1] < -25


def test_only_skin_borders_on_air(labels: Volume[np.uint8]) -> None:
    air = labels.array == LABELS["air"]
    beside = labels.array[1:][air[:-1]]
    assert np.isin(beside, [LABELS["air"], LABELS["skin"], LABELS["fat"], LABELS["ligament"]]).mean() > 0.995
