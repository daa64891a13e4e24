"""Seeds, and hashes of values: they depend on names and values alone, never on time, order or machine."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from srrd_ray.core.volume import Volume


def seed_from(run_seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for one use, derived from the run's seed and the names of that use.

    The names are, for example, knee, stage and epoch.

    Examples
    --------
    The same names give the same seed on every machine; another name or another run gives another seed.

    >>> seed_from(1, "sub-001_side-L", "mr noise")
    6525271089789575457
    >>> seed_from(1, "sub-001_side-R", "mr noise") == seed_from(1, "sub-001_side-L", "mr noise")
    False
    >>> seed_from(2, "sub-001_side-L", "mr noise") == seed_from(1, "sub-001_side-L", "mr noise")
    False
    """
    digest = hashlib.sha256(json.dumps([run_seed, *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def hash_json(*parts: object) -> str:
    """Return the SHA-256 of plain JSON-able data, independent of the order of keys."""
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, allow_nan=False, default=str).encode()
    ).hexdigest()


def hash_voxels(volume: Volume[np.generic]) -> str:
    """Return the SHA-256 of the voxels in order along LPS:
    one image has one hash in every format and order of axes.
    """
    view = volume.in_lps_order()
    digest = hashlib.sha256(json.dumps([view.shape, view.dtype.newbyteorder("<").str]).encode())
    for plane in view:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
