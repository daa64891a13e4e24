"""Synthetic CT: the training set of the CycleGAN, its model on disk, and the volume of one knee.

The training set is made from stored volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.learner import Learner
from srrd_ray.core.records import Knee, StoredVolume
from srrd_ray.core.volume import Volume
from srrd_ray.stages.shared.synthesis_card import (
    CARD,
    CONTRASTS,
    GENERATOR,
    WAY_BACK,
    SynthesisCard,
    read_card,
)
from srrd_ray.storage import omezarr
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import write_record
from srrd_ray.storage.weights import load_into, load_tensors, part_of, save_tensors
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.contrast import SeenContrasts
from srrd_ray.synthesis.inference import synthesize
from srrd_ray.synthesis.networks import Generator
from srrd_ray.synthesis.slices import slices_from_ct, slices_from_mr
from srrd_ray.synthesis.step import CycleGanLearner

_SEEN = ("rows", "spread", "limit")


def training_learners(
    mr_paths: Sequence[Path],
    ct_paths: Sequence[Path],
    config: CycleGanConfig,
    seed: int,
    start: Path | None = None,
) -> Iterator[Learner]:
    """Yield the one learner of the synthesis, on the slices of stored volumes, from the weights in a file.

    The lists need not hold the same knees: the training is unpaired. Volumes that cannot be used
    (`image-constant`, `voxels-not-finite`) are left out.

    Raises
    ------
    InputError
        `slices-invalid` where no volume of a modality remains.
    """
    mr = [slices for path in sorted(mr_paths) for slices in _usable(path, config, is_mr=True)]
    ct = [slices for path in sorted(ct_paths) for slices in _usable(path, config, is_mr=False)]
    if not mr or not ct:
        raise InputError("slices-invalid", "no volumes to learn from", got=f"{len(mr)} MR, {len(ct)} CT")
    weights = None if start is None else load_tensors(start)[0]
    yield CycleGanLearner(np.concatenate(mr), np.concatenate(ct), config, seed, start=weights)


def _usable(
    path: Path, config: CycleGanConfig, *, is_mr: bool
) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    volume = _coarse(path, config.pixel_mm)
    try:
        yield slices_from_mr(volume, config) if is_mr else slices_from_ct(volume, config)
    except InputError:
        return


def _coarse(path: Path, pixel_mm: float) -> Volume[np.generic]:
    """Return the coarsest level whose in-plane voxels are finer than 0.7 of `pixel_mm`.

    There is less to read and to filter.
    """
    level = 0
    while level < 4:
        try:
            following = omezarr.level_geometry(path, level + 1)
        except (IndexError, StoreError):
            break
        if sorted(following.spacing_mm)[1] > 0.7 * pixel_mm:
            break
        level += 1
    array = np.asarray(omezarr.open_level(path, level)[:])
    return Volume(array=array, geometry=omezarr.level_geometry(path, level))


def save_model(
    weights: Path | None,
    model_dir: Path,
    config: CycleGanConfig,
    held_out: tuple[str, ...] = (),
    school: Path | None = None,
) -> Path:
    """Return the folder of the model of round one.

    Parameters
    ----------
    weights
        The learner's (``cyclegan.safetensors``), or the folder they are in: both generators are kept, MR ->
        CT, and the way back, by which a synthetic CT is checked. Null: the school's generator, as it is.
    school
        Folder of the synthesis that it began at, whose contrasts stay with the model.
    """
    if weights is not None:
        tensors, _ = load_tensors(weights / "cyclegan.safetensors" if weights.is_dir() else weights)
        kept = {name: part_of(tensors, name) for name in (GENERATOR, WAY_BACK)}
    else:
        assert school is not None
        kept = {GENERATOR: load_tensors(_checked(school, GENERATOR)[0])[0]}
    if school is None:
        return save_generators(kept, model_dir, config, held_out)
    learnt_from = read_card(school).learnt_from
    seen = load_contrasts(school)
    return save_generators(kept, model_dir, config, held_out, learnt_from=learnt_from, seen=seen)


def save_generators(
    weights: Mapping[str, Mapping[str, Tensor]],
    model_dir: Path,
    config: CycleGanConfig,
    held_out: tuple[str, ...],
    *,
    learnt_from: Mapping[str, str] = MappingProxyType({}),
    figures: Mapping[str, dict[str, float]] = MappingProxyType({}),
    seen: SeenContrasts | None = None,
) -> Path:
    """Return the folder of the model with these weights, by generator. ``model.json`` is written last.

    `learnt_from`, `figures` and `seen` as in `SynthesisCard`.
    """
    hashes: dict[str, str] = {}
    kept = dict(weights)
    if seen is not None:
        kept[CONTRASTS] = {name: torch.from_numpy(np.asarray(getattr(seen, name))) for name in _SEEN}
    for name, tensors in kept.items():
        if name != CONTRASTS:
            load_into(Generator(config, from_mr=name == GENERATOR), tensors, model_dir.name)
        path = model_dir / f"{name}.safetensors"
        save_tensors(path, tensors, {"network": name})
        hashes[path.name] = hash_file(path)
    card = SynthesisCard(
        config=config,
        weights=hashes,
        units={"input": "MR over its marrow level", "output": "HU"},
        held_out=held_out,
        learnt_from=dict(learnt_from),
        figures=dict(figures),
    )
    write_record(model_dir / CARD, card, "synthesis")
    return model_dir


def load_model(model_dir: Path) -> tuple[Generator, CycleGanConfig]:
    """Return the generator and the configuration it was trained with.

    Raises
    ------
    StoreError
        `model-missing`, `model-altered`, `schema-version`, `schema-invalid`, or as the weights are read.
    """
    return _load(model_dir, GENERATOR)


def load_way_back(model_dir: Path) -> Generator | None:
    """Return the generator CT -> MR of round one, null where it learnt nothing; errors as `load_model`."""
    if f"{WAY_BACK}.safetensors" not in read_card(model_dir).weights:
        return None
    return _load(model_dir, WAY_BACK)[0]


def load_contrasts(model_dir: Path) -> SeenContrasts | None:
    """Return the contrasts that a synthesis began from, null for one that knows its cohort alone; errors as
    `load_model`.
    """
    if f"{CONTRASTS}.safetensors" not in read_card(model_dir).weights:
        return None
    tensors = load_tensors(_checked(model_dir, CONTRASTS)[0])[0]
    rows, spread, limit = (tensors[name].numpy() for name in _SEEN)
    return SeenContrasts(rows=rows, spread=spread, limit=float(limit))


def _load(model_dir: Path, name: str) -> tuple[Generator, CycleGanConfig]:
    path, card = _checked(model_dir, name)
    generator = Generator(card.config, from_mr=name == GENERATOR)
    load_into(generator, load_tensors(path)[0], path.name)
    return generator, card.config


def _checked(model_dir: Path, name: str) -> tuple[Path, SynthesisCard]:
    """Return the path of a file of a model, and the card that holds its hash."""
    path, card = model_dir / f"{name}.safetensors", read_card(model_dir)
    if not path.is_file() or card.weights.get(path.name) != hash_file(path):
        raise StoreError(
            "model-altered", "weights and model.json do not belong together", where=model_dir.name,
            todo="Train the synthesis again.",
        )  # fmt: skip
    return path, card


def synthesize_knee(
    knee: Knee,
    layout: RunLayout,
    model_dir: Path,
    config: CycleGanConfig,
    note: Callable[[Volume[np.generic], Volume[np.float32]], tuple[str, ...]] = lambda _mr, _sct: (),
) -> StoredVolume:
    """Return the record of one knee's synthetic CT, written on the grid of its MR and labelled synthetic.

    `config` gives the limits of plausibility; the network is built as its model describes. `note` returns
    what is to be kept with MR and synthetic CT, or refuses the latter.

    Raises
    ------
    InputError
        As `synthesize`: nothing is written where the result cannot be a CT.
    """
    generator, trained = load_model(model_dir)
    mr = omezarr.read_volume(layout.volume(knee, "mr"))
    made = synthesize(generator, mr, trained, limits=config)
    stored = omezarr.read_stored(layout.volume(knee, "mr"))
    sources = {"mr": stored.sha256, "model": hash_file(model_dir / f"{GENERATOR}.safetensors")}
    rounded = Volume(array=np.rint(made.array).astype(np.int16), geometry=made.geometry)
    return omezarr.write_volume(
        layout.volume(knee, "sct"),
        rounded,
        knee=knee,
        image="sct",
        unit="HU",
        synthetic_from="mr",
        sources=sources,
        notes=note(mr, made),
    )
