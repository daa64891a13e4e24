"""The version of the simulated cohort: a name, and the hash of every constant that a knee depends on."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from hashlib import sha256
from importlib import import_module
from importlib.resources import files

import numpy as np

from srrd_ray.core.hashing import hash_json

MODULES = (
    "anatomy",
    "bones",
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
    "shape_model",
    "soft_tissue",
    "tissue_kernel",
    "trabeculae",
    "trabeculae_kernel",
    "truth",
)
DATA = ("knee_tissues.npz", "llp26_knee.npz")
COHORT = "cohort-v2"
"""Measured (docs/cohort-v2.md) and frozen: whoever changes a constant gives it another name."""
CONSTANTS_SHA256 = "88823f4cfcdaaddfe635df822e933d574bb7bf1705c875e83ba545a752de16d3"


def constants(modules: tuple[str, ...] = MODULES) -> dict[str, object]:
    """Return the module constants of the simulator, by ``module.NAME``, and hashes of its data, as plain
    data.
    """
    values: dict[str, object] = {}
    for module in modules:
        names = vars(import_module(f"srrd_ray.simulation.{module}"))
        values |= {f"{module}.{name}": _plain(value) for name, value in names.items() if _public(name)}
    return values | {f"data/{name}": _file_sha256(name) for name in DATA}


def _file_sha256(name: str) -> str:
    return sha256((files("srrd_ray.simulation") / "data" / name).read_bytes()).hexdigest()


def _public(name: str) -> bool:
    """Return whether `name` is a public constant's."""
    return name.isupper() and not name.startswith("_")


def constants_sha256() -> str:
    """Return the SHA-256 of `constants`."""
    return hash_json(constants())


def school_sha256() -> str:
    """Return the SHA-256 of all constants that a knee of the school depends on."""
    return hash_json(constants((*MODULES, "school")))


def shifted_sha256() -> str:
    """Return the SHA-256 of all constants that a knee outside of the school's physics depends on."""
    return hash_json(constants((*MODULES, "school", "shifted")))


def paired_scans_sha256() -> str:
    """Return the SHA-256 of all constants that a knee depends on from which a synthesis learns."""
    return hash_json(constants((*MODULES, "school", "paired_scans")))


def _plain(value: object) -> object:
    """Return `value` as data that JSON writes the same everywhere."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
