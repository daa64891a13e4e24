"""Which simulated cohort this is: a name, and the hash of every constant that a knee depends on."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from types import ModuleType

import numpy as np

from srrd_ray.provenance import hash_of
from srrd_ray.simulation import (
    anatomy,
    compose,
    ct,
    microstructure,
    motion,
    mr,
    off_resonance,
    patients,
    pose,
    scene,
    trabeculae,
    truth,
)

COHORT = "cohort-v1"
"""Calibrated once (docs/cohort-v1.md); whoever changes a constant makes another cohort and gives it another name."""
CONSTANTS_SHA256 = ""


def constants() -> dict[str, object]:
    """Return the module constants of the simulator, by ``module.NAME``, as plain data."""
    modules = (
        anatomy,
        compose,
        ct,
        microstructure,
        motion,
        mr,
        off_resonance,
        patients,
        pose,
        scene,
        trabeculae,
        truth,
    )
    return {f"{_short(m)}.{name}": _plain(value) for m in modules for name, value in vars(m).items() if name.isupper()}


def constants_sha256() -> str:
    """Return the SHA-256 of `constants`."""
    return hash_of(constants())


def _short(module: ModuleType) -> str:
    return module.__name__.rsplit(".", 1)[-1]


def _plain(value: object) -> object:
    """Return `value` as data that JSON writes the same everywhere."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
