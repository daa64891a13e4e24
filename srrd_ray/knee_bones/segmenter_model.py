"""The segmenter on disk: weights in half precision and a card; the package's own is the default."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch
from torch import nn

from srrd_ray.core.errors import StoreError
from srrd_ray.core.model_card import ModelFacts, readme
from srrd_ray.knee_bones.segmenter_files import CARD, SHIPPED, WEIGHTS, require_segmenter
from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.network import AVERAGE, build_network, count_parameters
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.record_files import read_record, write_record
from srrd_ray.storage.weights import load_into, load_tensors, part_of, save_tensors

USE: Final = (
    "Femur, tibia, patella, fibula and cartilage in CT, synthetic CT and MR of one adult knee, for research. "
    "Learnt from simulated knees alone: no real image, no real label. Not for metal, fractures, children or "
    "other joints. What it finds is checked before use (segmentation/plausibility.py)."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterCard:
    """``segmenter.json``: what the network is, what it learnt from, what it is for."""

    config: SegmenterConfig
    weights: dict[str, str]
    classes: tuple[str, ...]
    parameters: int
    learnt_from: dict[str, str]
    use: str
    licence: str = "Apache-2.0"


def save_segmenter(trained: Path, folder: Path, config: SegmenterConfig, learnt_from: dict[str, str]) -> Path:
    """Return the folder of the model, made of a training's moving average (``segmenter.safetensors``)."""
    tensors, _ = load_tensors(trained)
    kept = part_of(tensors, AVERAGE)
    network = build_network(config)
    load_into(network, kept, trained.name)
    path = folder / WEIGHTS
    halves = {name: value.detach().to(torch.float16) for name, value in network.named_parameters()}
    save_tensors(path, halves, {"network": "segmenter"})
    card = SegmenterCard(
        config=config,
        weights={WEIGHTS: hash_file(path)},
        classes=CLASSES,
        parameters=count_parameters(network),
        learnt_from=learnt_from,
        use=USE,
    )
    write_record(folder / CARD, card, "segmenter")
    write_text(folder / "README.md", readme(facts_of(card)))
    return folder


def facts_of(card: SegmenterCard) -> ModelFacts:
    """Return what is told of a segmenter, which learns from simulated knees alone."""
    use, *limits = card.use.split(". ")
    return ModelFacts(
        name="SRRD-Ray segmenter of the bones of a knee",
        use=f"{use}.",
        data=tuple(f"{name}: {told}" for name, told in sorted(card.learnt_from.items())),
        simulated=True,
        limits=tuple(f"{one.rstrip('.')}." for one in limits),
        licence=card.licence,
        files=card.weights,
    )


def load_segmenter(folder: Path = SHIPPED) -> tuple[nn.Module, SegmenterConfig]:
    """Return the network, ready to use in single precision, and its configuration.

    Raises
    ------
    StoreError
        `model-missing`, `model-altered`, `schema-version`, `schema-invalid`, or as the weights are read.
    """
    folder = require_segmenter(str(folder))
    path, about = folder / WEIGHTS, folder / CARD
    card = read_record(SegmenterCard, about, "segmenter")
    if card.weights.get(WEIGHTS) != hash_file(path):
        raise StoreError(
            "model-altered", "weights and segmenter.json do not belong together", where=folder.name,
            todo="Install the package anew, or copy the model anew.",
        )  # fmt: skip
    network = build_network(card.config)
    stored, names = load_tensors(path)[0], _names(network)
    load_into(network, {k: stored[name] for k, name in names.items() if name in stored}, path.name)
    return network.eval(), card.config


def _names(network: nn.Module) -> dict[str, str]:
    """Return the name that each tensor is stored under: MONAI's network lists every layer twice."""
    own = {id(value): name for name, value in network.named_parameters()}
    return {key: own[id(value)] for key, value in network.state_dict(keep_vars=True).items()}


@lru_cache(maxsize=1)
def shared_segmenter(folder: Path) -> tuple[nn.Module, SegmenterConfig]:
    """Return what `load_segmenter` does, loaded once in a process."""
    return load_segmenter(folder)
