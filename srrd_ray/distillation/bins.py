"""Each parameter as a histogram of 51 bins on its fixed physical support.

The support is fixed so that a temperature has a meaning. Sources: HL-Gauss, Imani & White 2018 (arXiv
1806.04613), Farebrother et al. 2024 (arXiv 2403.03950).
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from srrd_ray.core.parameters import PARAMETER_OF

Logits: TypeAlias = Tensor

BINS = 51


def bin_edges() -> Tensor:
    """Return the bin edges (parameter, BINS + 1) in each parameter's own unit (1, mm, mm, 1/mm)."""
    supports = [parameter.support for parameter in PARAMETER_OF.values()]
    return torch.stack(
        [torch.linspace(*support, BINS + 1, dtype=torch.float64) for support in supports]
    ).float()


def bin_centres() -> Tensor:
    """Return the bin centres (parameter, BINS)."""
    limits = bin_edges()
    return (limits[:, 1:] + limits[:, :-1]) / 2


def bin_widths() -> Tensor:
    """Return the width of a bin of each parameter."""
    limits = bin_edges()
    return limits[:, 1] - limits[:, 0]


def gaussian_targets(values: Tensor, sigma_bins: float) -> Tensor:
    """Return the probabilities (n, parameter, BINS) of a Gaussian round `values` (n, parameter),
    its SD `sigma_bins` bins; as `gaussian`.
    """
    return gaussian(values, sigma_bins * bin_widths().to(values))


def gaussian(values: Tensor, sd: Tensor) -> Tensor:
    """Return the probabilities (n, parameter, BINS) of Gaussians round `values` (n, parameter), `sd`
    (parameter) in their units.

    The mass outside the support is given to the bins in proportion (Z of Imani & White);
    values beyond the support are moved to its ends first.
    """
    limits = bin_edges().to(values)
    inside = values.clamp(limits[:, 0], limits[:, -1])
    below: Tensor = torch.special.ndtr((limits - inside[..., None]) / sd[:, None])
    mass = below[..., 1:] - below[..., :-1]
    total: Tensor = mass.sum(dim=-1, keepdim=True)
    return mass / total


def mean_and_sd(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means and standard deviations (n, parameter) of histograms (n, parameter, BINS)."""
    at = bin_centres().to(probabilities)
    mean = (probabilities * at).sum(dim=-1)
    variance = (probabilities * (at - mean[..., None]) ** 2).sum(dim=-1)
    return mean, variance.sqrt()
