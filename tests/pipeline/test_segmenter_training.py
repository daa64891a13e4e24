from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from srrd_ray.cluster.executor import RayExecutor, RayTrainer
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training
from srrd_ray.knee_bones.segmenter_files import CARD
from srrd_ray.knee_bones.segmenter_model import SegmenterCard, load_segmenter, save_segmenter
from srrd_ray.pipeline.segmenter_training import SegmenterTraining, train_segmenter
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.network import AVERAGE, build_network
from srrd_ray.segmentation.step import NETWORK
from srrd_ray.stages.shared.label_maps import LabelMapStore
from srrd_ray.storage.record_files import read_record
from srrd_ray.storage.weights import save_tensors
from tests.segmentation.planted import SPACING, simulated_map

TINY = SegmenterConfig(
    widths=(4, 4, 4, 4, 4), patches=((16, 32, 32),), spacing_mm=4.0, map_mm=SPACING, epochs=2, steps=2, knees=1,
    precision="float32",
)  # fmt: skip


def request(folder: Path, out: str) -> SegmenterTraining:
    """A training on one planted knee: its label map lies where that of a simulated one would."""
    store = LabelMapStore(folder=folder / "work" / "label-maps", knees=1, seed=3, voxel_mm=SPACING)
    store.path(0).parent.mkdir(parents=True, exist_ok=True)
    with store.path(0).open("wb") as file:
        np.savez_compressed(file, labels=simulated_map())
    return SegmenterTraining(
        out=folder / out, work=folder / "work", seed=3, segmenter=TINY, checkpoint_seconds=0.0,
        cluster=ClusterConfig(cpus=2, training_workers=1),
    )  # fmt: skip


@pytest.mark.training
def test_a_training_writes_weights_and_card_and_the_same_command_again_finds_them(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    asked = request(tmp_path, "model")
    connect, fit = RayExecutor(asked.cluster).connect, RayTrainer(asked.cluster).fit
    first, config = load_segmenter(train_segmenter(asked, connect, fit))
    assert config == TINY
    log = tmp_path / "work" / asked.name / "epochs.jsonl"
    lines = log.read_text()
    assert len(lines.splitlines()) == TINY.epochs
    again, _ = load_segmenter(train_segmenter(replace(asked, out=tmp_path / "again"), connect, fit))
    assert log.read_text() == lines  # nothing was learnt anew
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_training_may_go_on_from_weights(tmp_path: Path) -> None:
    trained = build_network(TINY, 5)
    tensors = {f"{AVERAGE}.{key}": value.clone() for key, value in trained.state_dict().items()}
    save_tensors(tmp_path / "trained.safetensors", tensors, {"learner": "segmenter"})
    start = save_segmenter(tmp_path / "trained.safetensors", tmp_path / "start", TINY, {"patches": "9"})
    asked = replace(request(tmp_path, "model"), start=start)
    assert asked.name != request(tmp_path, "model").name
    begun = []

    def fit(training: Training, _log: Callable[[str], None]) -> Path:
        (learner,) = training.learners()
        begun.append(learner.modules()[NETWORK])
        save_tensors(training.weights / "segmenter.safetensors", tensors, {"learner": "segmenter"})
        return training.weights

    folder = train_segmenter(asked, nullcontext, fit)
    for got, expected in zip(begun[0].parameters(), trained.parameters(), strict=True):
        assert torch.equal(got, expected.half().float())
    learnt_from = read_record(SegmenterCard, folder / CARD, "segmenter").learnt_from
    assert learnt_from["patches, before"] == "9"


def test_another_setting_is_another_training(tmp_path: Path) -> None:
    asked = request(tmp_path, "model")
    assert asked.name == request(tmp_path, "elsewhere").name
    assert asked.name != replace(asked, seed=4).name
    assert asked.name != replace(asked, segmenter=replace(TINY, epochs=3)).name
