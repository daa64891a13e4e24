from __future__ import annotations

from pathlib import Path

import pytest
import torch

from srrd_ray.core.errors import StoreError
from srrd_ray.knee_bones.segmenter_files import CARD, WEIGHTS
from srrd_ray.knee_bones.segmenter_model import load_segmenter, save_segmenter
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.network import AVERAGE, build_network
from srrd_ray.segmentation.step import NETWORK
from srrd_ray.storage.weights import save_tensors

SMALL = SegmenterConfig(widths=(4, 4, 8, 8, 8))


def trained(folder: Path, config: SegmenterConfig = SMALL) -> Path:
    tensors = {
        f"{name}.{key}": value
        for seed, name in enumerate((NETWORK, AVERAGE))
        for key, value in build_network(config, seed).state_dict().items()
    }
    save_tensors(folder / "trained.safetensors", tensors, {})
    return folder / "trained.safetensors"


def test_the_moving_average_comes_back_in_half_precision_with_its_card(tmp_path: Path) -> None:
    folder = save_segmenter(trained(tmp_path), tmp_path / "model", SMALL, {"knees": "none"})
    network, config = load_segmenter(folder)
    assert config == SMALL
    assert not network.training
    for got, expected in zip(network.parameters(), build_network(SMALL, 1).parameters(), strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, expected.half().float())


def test_the_weights_as_shipped_stay_below_ten_megabytes(tmp_path: Path) -> None:
    config = SegmenterConfig()
    folder = save_segmenter(trained(tmp_path, config), tmp_path / "model", config, {})
    assert (folder / WEIGHTS).stat().st_size < 10e6


@pytest.mark.parametrize(("spoil", "code"), [("altered", "model-altered"), ("gone", "model-missing")])
def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path, spoil: str, code: str) -> None:
    folder = save_segmenter(trained(tmp_path), tmp_path / "model", SMALL, {})
    if spoil == "gone":
        (folder / CARD).unlink()
    else:
        raw = bytearray((folder / WEIGHTS).read_bytes())
        raw[-1] ^= 1
        (folder / WEIGHTS).write_bytes(raw)
    with pytest.raises(StoreError) as caught:
        load_segmenter(folder)
    assert caught.value.code == code
