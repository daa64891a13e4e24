"""Weights and training state as safetensors with a JSON header: nothing here can run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from srrd_ray.core.errors import FREE_SPACE, StoreError
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import local_copy

NOTES = "srrd"
DAMAGED = ("weights-unreadable", "weights-altered")
"""The error codes of a damaged file."""
DIGEST = "sha256"
"""The note with the hash of all tensors: nothing else reveals a flipped bit in a weight."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write named tensors, their hash and string notes to one safetensors file, atomically;
    same content, same bytes.

    All notes go under one key, as safetensors writes several keys in an order
    that changes from one call to the next.

    Raises
    ------
    StoreError
        `output-full`, `output-unwritable`.
    """
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    about = {NOTES: json.dumps({**notes, DIGEST: _digest(kept)}, sort_keys=True)}
    with replacing(path) as temporary:
        try:
            save_file(kept, temporary, metadata=about)
        except SafetensorError as error:  # its writer hides the number of the system's error
            raise StoreError(
                "output-full", "the weights could not be written", where=path.name,
                got=str(error).splitlines()[0], todo=FREE_SPACE,
            ) from error  # fmt: skip


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and notes of a safetensors file.

    Raises
    ------
    StoreError
        `weights-unreadable` for anything that is not safetensors: pickled checkpoints are never opened.
        `weights-altered` where the tensors are not those that were written.
    """
    try:
        with local_copy(path) as here, safe_open(here, framework="pt") as file:
            notes: dict[str, str] = json.loads((file.metadata() or {}).get(NOTES, "{}"))
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        if notes.pop(DIGEST, None) != _digest(tensors):
            raise StoreError(
                "weights-altered", "the weights are not those that were written", where=path.name,
                todo="Run the same command again with --verify, or copy the model anew.",
            )  # fmt: skip
    except StoreError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(
            "weights-unreadable",
            "not a readable safetensors file",
            where=path.name,
            got=str(error).splitlines()[0],
            todo="Only safetensors are read; convert other checkpoints where you trust them.",
        ) from error
    return tensors, notes


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of names, kinds, shapes and values of tensors, which come in order."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy `tensors` into `module`; every key and shape has to match.

    Raises
    ------
    StoreError
        `weights-mismatch` naming the first key that differs and both shapes.
    """
    state = module.state_dict()
    for key in sorted(set(state) | set(tensors)):
        got = tuple(tensors[key].shape) if key in tensors else None
        expected = tuple(state[key].shape) if key in state else None
        if got != expected:
            raise StoreError(
                "weights-mismatch",
                f"weights of another architecture, first at {key}",
                where=where,
                got=str(got),
                expected=str(expected),
                todo="Use the model.json that was saved with these weights.",
            )
    module.load_state_dict(dict(tensors))


def part_of(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors whose keys begin with `name` and a point, without both."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as flat named tensors (``<parameter>.<slot>``)."""
    state = optimizer.state_dict()["state"]
    tensors: dict[str, Tensor] = {}
    for index, slots in state.items():
        for slot, value in slots.items():
            tensors[f"{index}.{slot}"] = value if isinstance(value, Tensor) else torch.tensor(float(value))
    return tensors


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put flat named tensors from `optimizer_tensors` back;
    learning rates and groups stay as the optimizer has them.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
