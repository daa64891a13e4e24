"""Weights and training state as safetensors with a JSON header: nothing here can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from srrd_ray.errors import StoreError
from srrd_ray.io.atomic import replacing
from srrd_ray.io.places import local_copy

NOTES = "srrd"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write named tensors and string notes to one safetensors file, atomically; the same bytes for the same content.

    All notes go under one key, as safetensors writes several keys in an order that changes from one call to the next.
    """
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    with replacing(path) as beside:
        save_file(kept, beside, metadata={NOTES: json.dumps(dict(notes), sort_keys=True)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and notes of a safetensors file.

    Raises
    ------
    StoreError
        `weights-unreadable` for anything that is not safetensors: pickled checkpoints are never opened.
    """
    try:
        with local_copy(path) as here, safe_open(here, framework="pt") as file:
            notes: dict[str, str] = json.loads((file.metadata() or {}).get(NOTES, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, notes  # noqa: SIM118
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


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy `tensors` into `module`; every key and shape has to match.

    Raises
    ------
    StoreError
        `weights-mismatch` naming the first key that differs and both shapes.
    """
    own = module.state_dict()
    for key in sorted(set(own) | set(tensors)):
        got = tuple(tensors[key].shape) if key in tensors else None
        expected = tuple(own[key].shape) if key in own else None
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


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as flat named tensors (``<parameter>.<slot>``)."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{slot}": value if isinstance(value, Tensor) else torch.tensor(float(value))
        for index, slots in state.items()
        for slot, value in slots.items()
    }


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put flat named tensors from `optimizer_tensors` back; learning rates and groups stay as the optimizer has them."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
