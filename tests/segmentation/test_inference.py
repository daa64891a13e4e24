from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation import inference
from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.grey_values import scale_mr
from srrd_ray.segmentation.inference import segment
from srrd_ray.segmentation.inference_kernel import label_lattice

CONFIG = SegmenterConfig()
MIDDLE, RADIUS = np.array([3.3, -7.1, 2.7]), 21.4


class Bright(nn.Module):
    """A network whose femur is what is brighter than the middle of the scale."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(10.0))

    def forward(self, image: Tensor) -> Tensor:
        zero = torch.zeros_like(image)
        femur = self.gain * (image - 0.5)
        return torch.cat([zero, femur, *[zero - 99] * (len(CLASSES) - 2)], dim=1)


def ball(grid: Geometry) -> tuple[Volume[np.float32], NDArray[np.float64]]:
    """Return a CT of a ball with soft edges, half way at its radius, and the distance to its middle."""
    points = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    away = np.linalg.norm(points - MIDDLE, axis=-1)
    hu = 500 + 300 * np.clip((RADIUS - away) / 2, -1, 1)
    return Volume(array=hu.astype(np.float32), geometry=grid), away


GRIDS = {
    "isotropic": Geometry.axis_aligned((80, 80, 80), (1, 1, 1), (-40, -40, -40)),
    "fine, thick slices": Geometry.axis_aligned((27, 150, 150), (3, 0.5, 0.5), (-37, -40, -37)),
    "sagittal, head first": Geometry.from_affine(
        (50, 140, 130), np.array([[0, 0, 1.5, -35], [0.6, 0, 0, -42], [0, -0.6, 0, 45], [0, 0, 0, 1]])
    ),
    "coarse": Geometry.axis_aligned((40, 40, 40), (2, 2, 2), (-40, -40, -40)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_ball_is_found_within_a_part_of_a_voxel_on_any_lattice(name: str) -> None:
    image, away = ball(GRIDS[name])
    found = segment(Bright(), image, "ct", CONFIG)
    assert found.geometry == image.geometry
    wrong = np.abs(away - RADIUS)[(found.array == 1) != (away < RADIUS)]
    assert wrong.max(initial=0.0) < 0.35 * max(1.0, max(image.geometry.spacing_mm) / 2)
    true = 4 / 3 * np.pi * RADIUS**3
    assert abs((found.array == 1).sum() * image.geometry.voxel_mm3 / true - 1) < 0.02


def test_tiles_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = ball(GRIDS["isotropic"])
    whole = segment(Bright(), image, "ct", CONFIG)
    monkeypatch.setattr(inference, "MOST_VOXELS", 150_000)
    assert np.array_equal(segment(Bright(), image, "ct", CONFIG).array, whole.array)


def test_air_around_a_limb_is_left_out_and_labelled_background() -> None:
    image, away = ball(GRIDS["isotropic"])
    image.array[away > 33] = -1000
    found = segment(Bright(), image, "ct", CONFIG)
    assert not found.array[away > 33].any()
    assert (found.array == 1).sum() > 0.97 * (away < RADIUS).sum()


def test_the_fast_lattice_agrees_with_interpolating_everywhere() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 7, 8, 3)).astype(np.float32)
    steps, firsts = np.array([0.45, 0.8, 1.3]), np.array([-0.3, 0.2, 0.0])
    out = np.zeros((12, 9, 6), np.uint8)
    label_lattice(logits, logits.argmax(axis=3).astype(np.uint8), steps, firsts, out)
    at = [
        np.clip(f + s * np.arange(n), 0, m - 1)
        for f, s, n, m in zip(firsts, steps, out.shape, logits.shape, strict=False)
    ]
    slow = np.zeros((*out.shape, 3))
    for z, fz in enumerate(at[0]):
        for y, fy in enumerate(at[1]):
            for x, fx in enumerate(at[2]):
                slow[z, y, x] = _interpolated(logits, (fz, fy, fx))
    assert (slow.argmax(axis=3) == out).all()


def _interpolated(values: NDArray[np.float32], at: tuple[float, float, float]) -> NDArray[np.float64]:
    low = [min(int(a), n - 2) for a, n in zip(at, values.shape, strict=False)]
    total = np.zeros(values.shape[3])
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([1 - abs(a - (k + c)) for a, k, c in zip(at, low, corner, strict=True)])
        total += weight * values[tuple(k + c for k, c in zip(low, corner, strict=True))]
    return total


def test_an_mr_is_scaled_by_its_own_range_whatever_its_gain() -> None:
    image = np.random.default_rng(0).gamma(2, 100, (20, 20, 20)).astype(np.float32)
    assert np.allclose(scale_mr(image), scale_mr(37 * image), atol=1e-4)
    assert not scale_mr(np.full((8, 8, 8), 7, np.float32)).any()


@pytest.mark.parametrize(("array", "spacing", "code"), [
    (np.full((30, 30, 30), np.nan, np.float32), 1.0, "voxels-not-finite"),
    (np.zeros((30, 30, 5), np.float32), 1.0, "image-too-small"),
])  # fmt: skip
def test_what_cannot_be_segmented_is_refused(array: NDArray[np.float32], spacing: float, code: str) -> None:
    grid = Geometry.axis_aligned(array.shape, (spacing,) * 3)
    with pytest.raises(InputError) as caught:
        segment(Bright(), Volume(array=array, geometry=grid), "ct", CONFIG)
    assert caught.value.code == code
