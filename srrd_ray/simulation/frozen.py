"""The version of the simulated cohort: a name, and the hash of every constant that a knee depends on."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from importlib import import_module

import numpy as np

from srrd_ray.core.hashing import hash_json

MODULES = (
    "anatomy",
    "cohort",
    "compose",
    "compose_kernel",
    "ct",
    "microstructure",
    "motion",
    "mr",
    "off_resonance",
    "patients",
    "pose",
    "scene",
    "soft_tissue",
    "trabeculae",
    "truth",
)
COHORT = "cohort-v1"
"""Calibrated (docs/cohort-v1.md) and frozen: whoever changes a constant gives it another name."""
CONSTANTS_SHA256 = "bdadd86ea86625d28d0b6457377b7e9e11d201c7e088e1bc4d8a332f4d06eb91"


def constants() -> dict[str, object]:
    """Return the module constants of the simulator, by ``module.NAME``, as plain data."""
    values: dict[str, object] = {}
    for module in MODULES:
        names = vars(import_module(f"srrd_ray.simulation.{module}"))
        values |= {f"{module}.{name}": _plain(value) for name, value in names.items() if _public(name)}
    return values


def _public(name: str) -> bool:
    """Return whether `name` is a public constant's."""
    return name.isupper() and not name.startswith("_")


def constants_sha256() -> str:
    """Return the SHA-256 of `constants`."""
    return hash_json(constants())


def _plain(value: object) -> object:
    """Return `value` as data that JSON writes the same everywhere."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
