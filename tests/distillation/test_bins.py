from __future__ import annotations

import torch

from srrd_ray.distillation.bins import BINS, bin_centres, bin_edges, bin_widths, gaussian_targets, mean_and_sd

VALUES = torch.tensor([[0.25, 0.20, 0.60, 1.25], [0.15, 0.15, 0.90, 0.95]])


def test_supports_are_the_physical_ranges_of_the_four_parameters() -> None:
    limits = bin_edges()
    torch.testing.assert_close(limits[:, 0], torch.tensor([0.0, 0.05, 0.2, 0.4]))
    torch.testing.assert_close(limits[:, -1], torch.tensor([0.65, 0.60, 1.6, 2.4]))
    assert bin_centres().shape == (4, BINS)


def test_the_mean_of_a_target_is_the_value_and_its_sd_is_sigma() -> None:
    mean, sd = mean_and_sd(gaussian_targets(VALUES, 1.5))
    torch.testing.assert_close(mean, VALUES, atol=1e-4, rtol=1e-4)
    # a histogram of a Gaussian has Sheppard's extra variance, a twelfth of a bin squared
    torch.testing.assert_close(
        sd, ((1.5**2 + 1 / 12) ** 0.5 * bin_widths()).expand(2, 4), rtol=1e-3, atol=1e-6
    )


def test_targets_are_probabilities_even_at_and_beyond_the_ends_of_the_support() -> None:
    targets = gaussian_targets(torch.tensor([[0.0, 0.7, 5.0, 0.4]]), 0.75)
    torch.testing.assert_close(targets.sum(dim=-1), torch.ones(1, 4))
    mean, _ = mean_and_sd(targets)
    assert torch.isfinite(targets).all()
    assert (mean > bin_edges()[:, 0]).all()
    assert (mean < bin_edges()[:, -1]).all()
