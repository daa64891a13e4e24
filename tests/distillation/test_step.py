from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from srrd_ray.core.errors import TrainingError
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.distillation.config import HyperParameters
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.inference import predict, teacher_outputs
from srrd_ray.distillation.step import StudentLearner, TeacherLearner
from srrd_ray.storage.weights import load_into, load_optimizer, optimizer_tensors
from tests.distillation.toys import SMALL, toy

DATA = toy(48)


def train(learner: Learner, epochs: range) -> dict[str, float]:
    losses: dict[str, float] = {}
    for epoch in epochs:
        losses = learner.train_epoch(epoch, Shard(), learner.modules())
    return losses


def weights(learner: Learner) -> Mapping[str, Tensor]:
    return {f"{m}.{k}": v for m, module in learner.modules().items() for k, v in module.state_dict().items()}


def student(data: DistillationData = DATA, hyper: HyperParameters = SMALL.hyper) -> StudentLearner:
    teacher = TeacherLearner("t", data, SMALL, 0)
    return StudentLearner("s", data, replace(SMALL, hyper=hyper), 0, teacher_outputs(teacher.network, data))


@pytest.mark.parametrize("make", [lambda: TeacherLearner("t", DATA, SMALL, 0), student])
def test_a_learner_resumed_from_its_state_ends_with_the_same_weights(make: object) -> None:
    assert callable(make)
    whole, first, second = make(), make(), make()
    train(whole, range(3))
    train(first, range(2))
    for name, module in second.modules().items():
        load_into(module, first.modules()[name].state_dict(), name)
    load_optimizer(second.optimizers()["network"], optimizer_tensors(first.optimizers()["network"]))
    train(second, range(2, 3))
    expected = weights(whole)
    assert all(torch.equal(value, expected[key]) for key, value in weights(second).items())


def test_training_lowers_the_loss() -> None:
    learner = TeacherLearner("t", DATA, replace(SMALL, teacher_epochs=6), 0)
    first = train(learner, range(1))["loss"]
    assert train(learner, range(1, 6))["loss"] < first


def test_a_student_without_a_teacher_is_the_baseline_of_the_same_optimisation() -> None:
    alone = StudentLearner("s", DATA, SMALL, 0)
    with_nothing = student(hyper=SMALL.hyper.without_teacher())
    assert train(alone, range(2)).keys() == {"labels", "loss"}
    train(with_nothing, range(2))
    expected = weights(alone)
    assert all(torch.equal(value, expected[key]) for key, value in weights(with_nothing).items())


def test_a_guided_student_reports_every_term_of_its_loss() -> None:
    learner = student()
    assert set(learner.modules()) == {"network", "adapters"}
    assert train(learner, range(1)).keys() == {"labels", "soft", "features", "relations", "loss"}


def test_a_student_that_goes_on_from_a_reader_stays_near_it() -> None:
    reader = TeacherLearner("t", DATA, SMALL, 0).network
    start = StudentLearner("s", DATA, SMALL, 0).network
    moved = []
    for rate in (1.0, SMALL.start_rate):
        learner = StudentLearner(
            "s", DATA, replace(SMALL, start_rate=rate), 0, teacher_outputs(reader, DATA), start=start
        )
        train(learner, range(2))
        pairs = zip(learner.network.parameters(), start.parameters(), strict=True)
        moved.append(sum(float(((a - b) ** 2).sum().detach()) for a, b in pairs) ** 0.5)
    assert 0 < moved[1] < 0.2 * moved[0]


def test_guidance_brings_the_students_features_towards_the_teachers() -> None:
    guided = student(hyper=replace(SMALL.hyper, feature_weight=3.0))
    first = train(guided, range(1))["features"]
    assert train(guided, range(1, 3))["features"] < first


def test_two_workers_see_the_same_global_batches_as_one() -> None:
    learner = TeacherLearner("t", DATA, SMALL, 0)
    steps = [0, 0]

    def counting(rank: int) -> Mapping[str, torch.nn.Module]:
        module = learner.network
        module.register_forward_pre_hook(lambda *_: steps.__setitem__(rank, steps[rank] + 1))
        return {"network": module}

    learner.train_epoch(0, Shard(rank=0, world=2), counting(0))
    assert steps[0] == 48 // 16


def test_a_broken_number_stops_the_training_with_its_code() -> None:
    bad = DATA.rows(np.arange(len(DATA)))
    bad.mr[3] = np.nan
    with pytest.raises(TrainingError, match=r"\[loss-not-finite\]"):
        train(TeacherLearner("t", bad, SMALL, 0), range(1))


def test_predictions_do_not_depend_on_how_cubes_are_batched_or_mirrored() -> None:
    network = TeacherLearner("t", DATA, SMALL, 0).network
    mean, sd = predict(network, DATA.mr, DATA.mr_mask)
    again, _ = predict(network, DATA.mr, DATA.mr_mask, batch_size=7)
    np.testing.assert_allclose(mean, again, rtol=1e-4)
    flipped, _ = predict(network, DATA.mr[:, :, :, ::-1], DATA.mr_mask[:, :, :, ::-1])
    np.testing.assert_allclose(mean, flipped, rtol=1e-4)
    assert (sd > 0).all()


def rmse(predicted: np.ndarray, data: DistillationData) -> float:
    return float(np.sqrt((((predicted - data.targets) / data.targets.std(axis=0)) ** 2).mean()))


def test_the_teacher_reads_better_than_the_student_where_mr_shows_more() -> None:
    train_set, test_set = toy(64, seed=1), toy(32, seed=2)
    teacher, alone = TeacherLearner("t", train_set, SMALL, 0), StudentLearner("s", train_set, SMALL, 0)
    train(teacher, range(3))
    train(alone, range(3))
    by_mr, _ = predict(teacher.network, test_set.mr, test_set.mr_mask)
    by_ct, _ = predict(alone.network, test_set.ct, test_set.ct_mask)
    assert rmse(by_mr, test_set) < 0.8 * rmse(by_ct, test_set)


def test_a_teacher_transfers_what_noisy_labels_hide() -> None:
    truth, test_set = toy(64, seed=3, ct_noise=60.0), toy(32, seed=4, ct_noise=60.0)
    teacher = TeacherLearner("t", toy(96, seed=5), SMALL, 0)
    train(teacher, range(3))
    spoiled = np.random.default_rng(0).normal(size=truth.targets.shape) * truth.targets.std(axis=0) * 1.5
    noisy = replace(truth, targets=(truth.targets + spoiled).astype(np.float32))
    hyper = replace(SMALL.hyper, kd_weight=0.9, temperature=1.0)
    config = replace(SMALL, student_epochs=4, hyper=hyper)
    alone = StudentLearner("s", noisy, config, 0)
    guided = StudentLearner("s", noisy, config, 0, teacher_outputs(teacher.network, noisy))
    train(alone, range(4))
    train(guided, range(4))
    errors = [
        rmse(predict(learner.network, test_set.ct, test_set.ct_mask)[0], test_set)
        for learner in (alone, guided)
    ]
    assert errors[1] < errors[0]
