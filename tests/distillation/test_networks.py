from __future__ import annotations

import pytest
import torch

from srrd_ray.distillation.bins import BINS, bin_edges, mean_and_sd
from srrd_ray.distillation.config import NetworkConfig
from srrd_ray.distillation.networks import PatchRegressor, build, build_adapters, fit_constants, ridge
from tests.distillation.toys import toy

DATA = toy(24)
CT, CT_MASK = torch.from_numpy(DATA.ct).float()[:, None], torch.from_numpy(DATA.ct_mask).float()[:, None]
TARGETS = torch.from_numpy(DATA.targets)


def fitted() -> PatchRegressor:
    network = build(NetworkConfig(input="ct", width=4), 0)
    fit_constants(network, CT, CT_MASK, TARGETS)
    return network


def test_both_networks_share_feature_shapes_and_parameters() -> None:
    student, teacher = (build(NetworkConfig(input=kind, width=8), 0) for kind in ("ct", "mr"))
    ct = student(torch.zeros(2, 1, 16, 32, 32), torch.ones(2, 1, 16, 32, 32))
    mr = teacher(torch.zeros(2, 1, 56, 56, 16), torch.ones(2, 1, 56, 56, 16))
    assert ct.logits.shape == mr.logits.shape == (2, 4, BINS)
    assert (
        [f.shape for f in ct.features]
        == [f.shape for f in mr.features]
        == [(2, c, 4, 4, 4) for c in (16, 32)]
    )


def test_adapters_lead_from_the_students_channels_to_the_teachers() -> None:
    small, large = NetworkConfig(input="ct", width=4), NetworkConfig(input="mr", width=8)
    features = tuple(torch.zeros(2, c, 4, 4, 4) for c in small.channels)
    adapted = build_adapters(small, large, 0)(features)
    assert [f.shape[1] for f in adapted] == list(large.channels)


def test_no_layer_depends_on_the_batch_or_on_training_mode() -> None:
    names = {type(module).__name__ for module in fitted().modules()}
    assert not {name for name in names if "BatchNorm" in name or "Dropout" in name}
    network = fitted()
    whole, alone = network(CT, CT_MASK).logits, network.eval()(CT[:1], CT_MASK[:1]).logits
    torch.testing.assert_close(whole[:1], alone, atol=1e-4, rtol=1e-4)


def test_voxels_outside_the_bone_are_never_seen() -> None:
    mask = CT_MASK.clone()
    mask[:, :, :3] = 0
    spoiled = torch.where(mask > 0, CT, torch.full_like(CT, -3000.0))
    network = fitted()
    torch.testing.assert_close(network(spoiled, mask).logits, network(CT, mask).logits)


def test_an_untrained_network_predicts_the_ridge_regression_of_its_texture_statistics() -> None:
    network = fitted()
    with torch.no_grad():
        mean, _ = mean_and_sd(network(CT, CT_MASK).logits.softmax(dim=-1))
        seen = network.statistics(CT, CT_MASK)
    standard = (seen - seen.mean(dim=0)) / seen.std(dim=0, correction=0).clamp_min(1e-3)
    middle, unit = TARGETS.mean(dim=0), TARGETS.std(dim=0, correction=0)
    expected = middle + unit * (
        standard.clamp(-5, 5) @ ridge(standard.clamp(-5, 5), (TARGETS - middle) / unit)
    )
    inside = (expected > bin_edges()[:, 0] + unit / 2) & (expected < bin_edges()[:, -1] - unit / 2)
    assert float(((mean - expected) / unit)[inside].abs().quantile(0.9)) < 0.02


def test_ridge_without_penalty_recovers_an_exact_linear_law() -> None:
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    law = torch.tensor([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]])
    torch.testing.assert_close(ridge(x, x @ law, penalty=0.0), law, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["ct", "mr"])
def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator_alone(kind: str) -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    config = NetworkConfig(input=kind, width=4)  # type: ignore[arg-type]
    a, b, c = build(config, 1), build(config, 1), build(config, 2)
    assert torch.equal(torch.randn(3), expected)
    assert torch.equal(a.stem.weight, b.stem.weight)
    assert not torch.equal(a.stem.weight, c.stem.weight)
