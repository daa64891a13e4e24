from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srrd_ray.distillation.config import DistillationConfig, HyperParameters
from srrd_ray.distillation.data import bone_fraction
from srrd_ray.distillation.halves import HALVES
from srrd_ray.distillation.inference import LEAST
from srrd_ray.stages.shared.evidence_cubes import EvidenceCubes
from srrd_ray.stages.shared.evidence_ways import (
    COURSES,
    MODELS,
    Lesson,
    by_threshold,
    lesson_of,
    measured_halves,
    unlearnt,
)
from tests.distillation.toys import SMALL, toy
from tests.stages.small_school import make_school

FOLDS = {f"p{n}": n % 3 for n in range(6)}


def toy_evidence(count: int = 48, seed: int = 3) -> EvidenceCubes:
    """Toy cubes of six patients, measured with an error in MR, their halves likewise."""
    data = toy(count, seed=seed)
    data = replace(data, mr=bone_fraction(data.mr, data.mr_mask))
    rng = np.random.default_rng(seed)
    measured = (data.targets * (1 + 0.1 * rng.standard_normal(data.targets.shape))).astype(np.float32)
    halves = np.stack([measured] * len(HALVES))
    return EvidenceCubes(data=replace(data, targets=measured), truth=data.targets, halves=halves)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_school(tmp_path_factory.mktemp("school")))


@pytest.fixture(scope="module")
def given(school: str) -> Lesson:
    config = replace(
        SMALL,
        labels="reader",
        school=school,
        student_epochs=1,
        teacher_epochs=1,
        hyper=HyperParameters(lr=5e-3),
    )
    return lesson_of(toy_evidence(), config, 1, FOLDS, seed=0)


def test_nobody_who_is_asked_has_taught(given: Lesson) -> None:
    assert set(given.asked.data.patients) == {"p1", "p4"}
    assert set(given.taught.data.patients) == {"p0", "p2", "p3", "p5"}


def test_fewer_patients_teach_and_the_same_are_asked(school: str) -> None:
    config = DistillationConfig(school=school)
    few = lesson_of(toy_evidence(), config, 1, FOLDS, seed=0, patients=3)
    more = lesson_of(toy_evidence(), config, 1, FOLDS, seed=0, patients=5)
    assert set(few.taught.data.patients) < set(more.taught.data.patients)
    assert set(few.asked.data.patients) == {"p1", "p4"}


@pytest.mark.training
def test_every_model_of_the_table_reads_what_is_asked_and_no_two_learn_the_same(
    given: Lesson, school: str
) -> None:
    read = {model: values for course in ("measured", "readers") for model, values in COURSES[course](given)}
    for model, values in read.items():
        assert values.shape == given.asked.truth.shape, model
        assert np.isfinite(values).all(), model
    alone = unlearnt(given.asked, school)
    assert set(read) | set(alone) == set(MODELS)
    students = [
        values for model, values in (read | {"school": alone["school"]}).items() if model != "teacher"
    ]
    different = [np.abs(a - b).max() > 0 for n, a in enumerate(students) for b in students[:n]]
    assert all(different)


def test_where_no_mr_is_like_the_schools_the_readers_teach_nobody(given: Lesson) -> None:
    dark = replace(given.taught.data, mr=np.zeros_like(given.taught.data.mr))
    outside = replace(given, taught=replace(given.taught, data=dark))
    assert list(COURSES["readers"](outside)) == []
    assert [name for name, _ in COURSES["curve"](outside)] == ["baseline"]


@pytest.mark.training
def test_a_course_held_again_reads_the_same(given: Lesson) -> None:
    first, again = (dict(COURSES["curve"](given)) for _ in range(2))
    for model, values in first.items():
        np.testing.assert_array_equal(again[model], values)


def test_measured_halves_take_the_place_of_what_a_teacher_reads() -> None:
    cubes = toy_evidence(8)
    said = measured_halves(cubes, 1.5)
    width = [(high - low) / 51 for low, high in ((0, 1), (0, 1), (0, 3), (0, 3))]
    assert np.abs(said.values().numpy() - cubes.data.targets).max() < max(width)
    assert float(said.logits.exp().min()) >= LEAST / 2
    np.testing.assert_array_equal(said.halves.numpy(), cubes.halves)


def test_what_is_thresholded_in_ct_has_the_share_and_scale_of_the_bone() -> None:
    data = toy(2, ct_noise=0.0)
    wide, narrow = np.zeros((2, 8, 16, 16), np.int16)
    wide[:, :, ::8] = narrow[:, :, ::4] = 1000
    for start in range(4):
        wide[:, :, start::8] = 1000
    for start in range(2):
        narrow[:, :, start::4] = 1000
    read = by_threshold(replace(data, ct=np.stack([wide, narrow])))
    np.testing.assert_allclose(read[:, 0], 0.5, atol=0.07)
    assert 1.6 < read[0, 1] / read[1, 1] < 2.4
    np.testing.assert_allclose(read[:, 3], read[:, 0] / read[:, 1], rtol=1e-5)


def test_a_cube_of_one_value_has_no_threshold() -> None:
    data = toy(1)
    assert np.isnan(by_threshold(replace(data, ct=np.full_like(data.ct, 100)))).all()
