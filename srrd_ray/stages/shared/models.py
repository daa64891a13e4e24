"""A trained model on disk: one file of weights a fold, and a model card, written last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.core.records import RunModel
from srrd_ray.distillation.config import Augmentation, DistillationConfig, HyperParameters, NetworkConfig
from srrd_ray.distillation.fingerprint import Fingerprint
from srrd_ray.distillation.networks import PatchRegressor, build
from srrd_ray.stages.shared.model_facts import caution
from srrd_ray.storage import schemas
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.weights import load_into, load_tensors, part_of, save_tensors

ModelName: TypeAlias = Literal[RunModel, "reader-mr", "reader-ct"]
"""Also those in the folder of a school."""
READ_MR: tuple[ModelName, ...] = ("teacher", "reader-mr")

SCHEMA = "srrd-model/1"
CARD = "model.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldCard:
    """One network of the ensemble and the settings it was trained with.

    It has its normalisation (HU, or bone fraction), the fingerprint of the CT it was trained with, and the
    number of patients of whom that was (null: not known). `nuisance` and `width` are what a search chose for
    its student (null: those of the configuration).
    """

    fold: int
    file: str
    hyper: HyperParameters
    input_mean: float
    input_sd: float
    fingerprint: Fingerprint
    patients: int | None = None
    nuisance: Augmentation | None = None
    width: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """``model.json``: everything needed to use the weights, and their hashes. It names no participant.

    `caution` is what a user has to know first; empty where there is nothing.
    """

    schema: str
    name: ModelName
    config: DistillationConfig
    folds: tuple[FoldCard, ...]
    weights: dict[str, str]
    caution: str = ""

    @property
    def network(self) -> NetworkConfig:
        """The architecture of its networks."""
        return self.config.teacher if self.name in READ_MR else self.config.student

    def network_of(self, one: FoldCard) -> NetworkConfig:
        """Return the architecture of one of its networks."""
        return self.network if one.width is None else replace(self.network, width=one.width)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredFold:
    """A trained network of one fold, to be stored."""

    fold: int
    network: PatchRegressor
    hyper: HyperParameters
    fingerprint: Fingerprint
    patients: int
    nuisance: Augmentation | None = None
    width: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """A model read back: its card, and a network for each fold that tests with it."""

    card: ModelCard
    networks: dict[int, PatchRegressor]


def store_model(
    folder: Path, name: ModelName, config: DistillationConfig, folds: Sequence[StoredFold]
) -> Path:
    """Return `folder` after writing the networks and their card, whole or not at all."""
    with replacing(folder) as temporary:
        temporary.mkdir()
        cards = tuple(_store_fold(temporary, one) for one in folds)
        hashes = {card.file: hash_file(temporary / card.file) for card in cards}
        card = ModelCard(
            schema=SCHEMA, name=name, config=config, folds=cards, weights=hashes,
            caution=caution([one.patients for one in folds]),
        )  # fmt: skip
        text = serial.to_json(card)
        schemas.validate("model", json.loads(text), CARD)
        (temporary / CARD).write_text(text, encoding="utf-8")
    return folder


def load_model(folder: Path) -> Model:
    """Return the model stored in `folder`.

    Raises
    ------
    StoreError
        `model-missing`, `model-altered` (a file of weights is not the one of the card), `schema-version`,
        `schema-invalid`, `weights-mismatch`.
    ConfigError
        `record-invalid` or `key-unknown` for a card of another version.
    """
    card = read_card(folder)
    return Model(card=card, networks={one.fold: load_fold(folder, card, one) for one in card.folds})


def read_card(folder: Path) -> ModelCard:
    """Return the card of the model in `folder`; errors as `load_model`, without those of the weights."""
    path = folder / CARD
    if not path.is_file():
        raise StoreError(
            "model-missing", "no model.json", where=folder.name, todo="Run the same command again."
        )
    text = path.read_text(encoding="utf-8")
    schemas.validate("model", _parsed(text, folder.name), folder.name)
    return serial.from_json(ModelCard, text)


def require_card(folder: Path) -> Path:
    """Return the path of the card of a model that the user names.

    Raises
    ------
    ConfigError
        `model-missing`.
    """
    path = folder / CARD
    if not path.is_file():
        raise ConfigError(
            "model-missing",
            "no model.json",
            where=folder.name,
            todo="Name the folder RUN/models/<name> of a run.",
        )
    return path


def _store_fold(folder: Path, one: StoredFold) -> FoldCard:
    file = f"fold-{one.fold}.safetensors"
    save_tensors(folder / file, one.network.state_dict(), {"schema": SCHEMA})
    return FoldCard(
        fold=one.fold,
        file=file,
        hyper=one.hyper,
        input_mean=float(one.network.input_mean),
        input_sd=float(one.network.input_sd),
        fingerprint=one.fingerprint,
        patients=one.patients,
        nuisance=one.nuisance,
        width=one.width,
    )


def load_trained(network: PatchRegressor, path: Path) -> None:
    """Fill a network with the weights that a training left at `path` (keys ``network.…``)."""
    tensors, _ = load_tensors(path)
    load_into(network, part_of(tensors, "network"), path.name)


def load_fold(folder: Path, card: ModelCard, one: FoldCard) -> PatchRegressor:
    """Return one network of a model; errors as `load_model`."""
    path = folder / Path(one.file).name
    if not path.is_file() or hash_file(path) != card.weights.get(one.file):
        raise StoreError(
            "model-altered",
            "weights are missing or not those that model.json names",
            where=f"{folder.name}/{path.name}",
            todo="Copy the whole folder again, or run the same command again.",
        )
    network = build(card.network_of(one), 0)
    load_into(network, load_tensors(path)[0], path.name)
    return network.eval()


def _parsed(text: str, where: str) -> object:
    try:
        data: object = json.loads(text)
    except ValueError as error:
        raise StoreError("schema-invalid", f"model.json is not JSON: {error}", where=where) from error
    return data
