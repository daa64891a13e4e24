"""Maps as NRRD for 3D Slicer, written slab by slab: a map larger than memory as well."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.storage.atomic import replacing


def write_nrrd(path: Path, grid: Geometry, slabs: Iterable[NDArray[np.floating]]) -> None:
    """Write a float32 map on `grid`, whole or not at all; `slabs` are its planes in order, (z, y, x) each."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_header(grid).encode("ascii"))
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0, filename="") as packed:
            for slab in slabs:
                packed.write(np.ascontiguousarray(slab, dtype="<f4").data)


def _header(grid: Geometry) -> str:
    z, y, x = grid.shape
    directions = " ".join(_vector(axis) for axis in grid.affine[:3, :3].T)
    lines = (
        "NRRD0004",
        "type: float",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {x} {y} {z}",
        f"space directions: {directions}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(grid.affine[:3, 3])}",
    )
    return "\n".join(lines) + "\n\n"


def _vector(values: NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(v)) for v in values) + ")"
