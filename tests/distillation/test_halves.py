from __future__ import annotations

import torch

from srrd_ray.distillation.config import NetworkConfig
from srrd_ray.distillation.halves import half_masks, read_halves, start_guided
from srrd_ray.distillation.networks import PatchRegressor, build, fit_constants
from tests.distillation.toys import toy

DATA = toy(24)
CT, MASK = torch.from_numpy(DATA.ct).float()[:, None], torch.from_numpy(DATA.ct_mask).float()[:, None]
MR, MR_MASK = torch.from_numpy(DATA.mr).float()[:, None], torch.from_numpy(DATA.mr_mask).float()[:, None]
TARGETS = torch.from_numpy(DATA.targets)


def fitted() -> PatchRegressor:
    network = build(NetworkConfig(input="ct", width=4), 0)
    fit_constants(network, CT, MASK, TARGETS)
    return network


def test_two_halves_of_an_axis_make_up_the_whole() -> None:
    halves = half_masks(MASK)
    assert len(halves) == 6
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        torch.testing.assert_close(first + second, MASK)
        assert float(first.mean()) == 0.5


def test_a_teacher_reads_every_half_of_every_cube() -> None:
    teacher = build(NetworkConfig(input="mr", width=4), 0)
    fit_constants(teacher, MR, MR_MASK, TARGETS)
    readings = read_halves(teacher, MR, MR_MASK)
    assert readings.shape == (6, 24, 4)
    error = (readings - TARGETS).abs().mean(dim=(0, 1))
    assert (error < TARGETS.std(dim=0)).all()


def test_without_weight_the_student_starts_at_the_labels_alone() -> None:
    network, readings = fitted(), torch.zeros(6, 24, 4)
    before = network.head.centre.weight.clone()
    start_guided(network, (CT, MASK), TARGETS, (readings, 0.0))
    assert torch.equal(network.head.centre.weight, before)


def test_the_start_follows_the_teacher_where_it_has_all_the_weight() -> None:
    opposite = 2 * TARGETS.mean(dim=0) - TARGETS
    network, other = fitted(), fitted()
    start_guided(network, (CT, MASK), TARGETS, (opposite.expand(6, 24, 4), 1.0))
    start_guided(other, (CT, MASK), opposite, (opposite.expand(6, 24, 4), 1.0))
    torch.testing.assert_close(network.head.centre.weight, other.head.centre.weight)
    assert float((network.head.centre.weight * fitted().head.centre.weight).sum().detach()) < 0
