from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from srrd_ray.simulation.anatomy import Anatomy, sample_anatomy
from srrd_ray.simulation.bones import FEMUR, FIBULA, PATELLA, TIBIA, Bone, build_bones
from srrd_ray.simulation.meshes import Mesh
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.simulation.shape_model import align, draw_scores, shape_bones, templates


@pytest.fixture(scope="module")
def knee(plan: SimulatedKnee) -> tuple[Anatomy, tuple[Bone, ...]]:
    a = sample_anatomy(plan)
    return a, build_bones(plan, a)


def volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_bones_are_closed_and_as_large_as_peoples(knee: tuple[Anatomy, tuple[Bone, ...]]) -> None:
    a, bones = knee
    assert np.ptp(bones[FEMUR].mesh.vertices[:, 0]) == pytest.approx(a.width, abs=3)
    assert 8_000 < volume(bones[PATELLA].mesh) < 33_000
    for bone in bones:
        edges = np.sort(bone.mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_the_least_distance_of_the_bones_is_the_joint_space(knee: tuple[Anatomy, tuple[Bone, ...]]) -> None:
    a, bones = knee
    tibia = bones[TIBIA].mesh.vertices
    gap, _ = cKDTree(bones[FEMUR].mesh.vertices).query(tibia)
    plateau = bones[TIBIA].articular > 0.5
    for side, part in enumerate((tibia[:, 0] > 6, tibia[:, 0] < -6)):
        assert gap[plateau & part].min() == pytest.approx(a.joint_space[side], abs=0.25)


def test_a_large_osteophyte_leaves_the_tibia_under_the_femur() -> None:
    """Without a limit this knee has a spur of up to 14 mm, which held its bones apart."""
    plan = next(p for p in simulate_cohort_plan(90, 2026, "paper") if p.knee.key == "sub-063_side-L")
    a = sample_anatomy(plan)
    tibia = build_bones(plan, a)[TIBIA].mesh.vertices
    for x in a.centers_x:
        middle = np.hypot(tibia[:, 0] - x, tibia[:, 1]) < 3
        assert abs(tibia[middle, 2].max()) < 8


def test_no_bone_enters_another(knee: tuple[Anatomy, tuple[Bone, ...]]) -> None:
    _, bones = knee
    for one, other in ((FEMUR, PATELLA), (FEMUR, TIBIA), (TIBIA, FIBULA)):
        mesh = bones[one].mesh
        distance, n = cKDTree(mesh.vertices).query(bones[other].mesh.vertices)
        outwards = ((bones[other].mesh.vertices - mesh.vertices[n]) * mesh.normals()[n]).sum(axis=1) > 0
        assert outwards[distance < 6].all()


def test_disease_takes_cartilage_and_adds_bone_at_the_margin(plan: SimulatedKnee) -> None:
    healthy, worn = (replace(plan, kl_grade=n, oa=int(n > 1), valgus=False) for n in (0, 4))
    first, last = (build_bones(p, sample_anatomy(p)) for p in (healthy, worn))
    medial = (last[TIBIA].mesh.vertices[:, 0] > 6) & (templates()[TIBIA].covered > 0.6)
    assert last[TIBIA].cartilage[medial].mean() < 0.7 * first[TIBIA].cartilage[medial].mean()
    assert volume(last[FEMUR].mesh) > volume(first[FEMUR].mesh)


def test_the_mean_scores_give_the_mean_bones_whatever_their_place() -> None:
    for bone, template in zip(shape_bones(np.zeros(25)), templates(), strict=True):
        np.testing.assert_allclose(bone, template.mean, atol=1e-6)
    moved = templates()[FEMUR].mean[:, [1, 2, 0]] + 7.0
    np.testing.assert_allclose(align(moved, templates()[FEMUR].mean), templates()[FEMUR].mean, atol=1e-6)


def test_scores_are_within_what_26_people_show() -> None:
    scores = np.array([draw_scores(np.random.default_rng(n)) for n in range(200)])
    assert np.abs(scores).max() <= 2.0
    assert scores.std() == pytest.approx(0.9, abs=0.08)
