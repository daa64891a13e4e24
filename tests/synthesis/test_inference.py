from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.inference import require_plausible, synthesize
from srrd_ray.synthesis.networks import Generator
from srrd_ray.synthesis.physics import guess_ct

CONFIG = CycleGanConfig(width=4, blocks=1)


def mr() -> Volume[np.float32]:
    """Return a sagittal MR: bright bone, with a dark wide joint space across its middle."""
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 0.4, -0.4, 1.5, 1.0
    array = np.full((10, 70, 50), 80.0, dtype=np.float32)
    array[:, 25:45] = 8.0
    return Volume(array=array, geometry=Geometry.from_affine(array.shape, affine))


def test_the_untrained_generator_gives_the_first_guess_of_physics_on_the_grid_of_the_mr() -> None:
    image = mr()
    made = synthesize(Generator(CONFIG), image, CONFIG)
    assert made.geometry == image.geometry
    assert made.array.dtype == np.float32
    assert abs(float(np.median(made.array[:, 32:38])) - 60.0) < 20.0
    assert 200.0 < float(np.median(made.array[:, :15])) < 450.0


def test_a_generator_may_begin_without_any_guess() -> None:
    image = torch.linspace(-1, 2, 64).reshape(1, 1, 8, 8)
    assert torch.equal(Generator(CONFIG)(image), guess_ct(image))
    assert not torch.allclose(
        Generator(replace(CONFIG, first_guess="none"))(image), guess_ct(image), atol=0.1
    )


def test_the_gain_of_the_scanner_does_not_matter() -> None:
    image = mr()
    louder = Volume(array=7.0 * image.array, geometry=image.geometry)
    first, second = (synthesize(Generator(CONFIG), volume, CONFIG).array for volume in (image, louder))
    np.testing.assert_allclose(first, second, atol=0.5)


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(image) + self.value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (float("nan"), "synthesis-not-finite"),
        (9.0, "synthesis-range"),
        (-0.9, "synthesis-bone"),
        (1.0, "synthesis-bone"),
    ],
)
def test_what_cannot_be_a_ct_is_refused(value: float, code: str) -> None:
    with pytest.raises(InputError) as caught:
        synthesize(Constant(value), mr(), CONFIG)
    assert caught.value.code == code


def test_a_plausible_image_passes_the_check() -> None:
    require_plausible(np.linspace(-100, 900, 1000, dtype=np.float32).reshape(10, 10, 10), CONFIG)
