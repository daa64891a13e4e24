from __future__ import annotations

import pytest
import torch
from torch import Tensor

from srrd_ray.distillation.bins import BINS, bin_centres, bin_widths, gaussian_targets, mean_and_sd
from srrd_ray.distillation.losses import (
    feature_distance,
    histogram_loss,
    relation_distance,
    similarities,
    soft_targets,
)

MIDDLE = bin_centres()[:, BINS // 2]


def gaussian_logits(shift_bins: float, sd_bins: float = 2.0) -> Tensor:
    shifted = (MIDDLE + shift_bins * bin_widths())[:, None]
    return (-((bin_centres() - shifted) ** 2) / (2 * (sd_bins * bin_widths()[:, None]) ** 2))[None]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_a_temperature_widens_a_gaussian_histogram_by_its_square_root(temperature: float) -> None:
    _, sd = mean_and_sd((gaussian_logits(0.0) / temperature).softmax(dim=-1))
    torch.testing.assert_close(
        sd[0] / bin_widths(), torch.full((4,), 2.0 * temperature**0.5), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 6.0])
def test_the_soft_target_loss_of_a_shift_is_half_its_square_over_the_variance_at_any_temperature(
    temperature: float,
) -> None:
    loss = soft_targets(gaussian_logits(1.0), gaussian_logits(0.0), temperature)
    assert float(loss) == pytest.approx(1.0**2 / (2 * 2.0**2), rel=0.03)


def test_every_term_is_zero_for_a_perfect_student() -> None:
    logits, features = (
        gaussian_logits(0.7),
        torch.randn(6, 8, 4, 4, 4, generator=torch.Generator().manual_seed(1)),
    )
    assert float(soft_targets(logits, logits, 3.0)) == pytest.approx(0, abs=1e-6)
    assert float(histogram_loss(logits, logits.softmax(dim=-1))) == pytest.approx(0, abs=1e-6)
    assert float(feature_distance(features, features)) == pytest.approx(0, abs=1e-6)
    assert float(relation_distance(features, features)) == pytest.approx(0, abs=1e-6)


def test_the_label_loss_has_its_minimum_at_the_target_and_grows_with_distance() -> None:
    target = gaussian_targets(MIDDLE[None], 2.0)
    losses = [float(histogram_loss(gaussian_logits(shift), target)) for shift in (0.0, 1.0, 2.0, 4.0)]
    assert losses == sorted(losses)
    assert losses[0] < 0.01


def test_feature_and_relation_terms_do_not_change_with_the_scale_of_the_features() -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = (torch.randn(5, 6, 4, 4, 4, generator=generator) for _ in range(2))
    for term in (feature_distance, relation_distance):
        torch.testing.assert_close(term(3 * a, 0.2 * b), term(a, b))


def test_relations_compare_cubes_and_not_channels() -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(5, 6, 4, 4, 4, generator=generator)
    shuffled = features[:, torch.tensor([3, 1, 5, 0, 2, 4])]
    assert float(relation_distance(features, shuffled)) == pytest.approx(0, abs=1e-6)
    assert similarities(features).shape == (5, 5)


def test_opposite_features_are_at_the_greatest_distance() -> None:
    features = torch.randn(3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(4))
    assert float(feature_distance(features, -features)) == pytest.approx(2.0, abs=1e-5)
