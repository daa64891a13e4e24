"""Zarr v3 arrays with all shards present and all bytes checked: a missing shard is never read as zeros.

Every inner chunk is compressed by Zstd with its own checksum, every shard index carries a CRC-32C, every
shard is written even where it holds only the fill value,
and a SHA-256 of each array's values is kept by the owner of the group.
"""

from __future__ import annotations

import hashlib
import math
import stat
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.metadata.v3 import ArrayV3Metadata

from srrd_ray.core.errors import StoreError
from srrd_ray.storage.schemas import Name, schema_version, validate

Array: TypeAlias = NDArray[np.generic]
Shape: TypeAlias = tuple[int, ...]
ZarrArray: TypeAlias = "zarr.Array[ArrayV3Metadata]"
ZSTD_LEVEL = 1
REBUILD = "Run the same command again with --verify: what wrote it makes it anew; do not use this copy."


def create_array(
    group: zarr.Group,
    name: str,
    shape: Shape,
    dtype: np.dtype[np.generic],
    *,
    chunk: Shape,
    shard: Shape,
    axes: tuple[str, ...] | None = None,
) -> ZarrArray:
    """Return a new array of `group`; chunks and shards are cut down to `shape`,
    and shards are whole numbers of chunks.
    """
    chunk = tuple(max(1, min(c, n)) for c, n in zip(chunk, shape, strict=True))
    shard = tuple(math.ceil(max(1, min(s, n)) / c) * c for s, n, c in zip(shard, shape, chunk, strict=True))
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunk,
        shards=shard,
        compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)],
        fill_value=False if dtype.kind == "b" else 0,
        dimension_names=axes,
        config={"write_empty_chunks": True, "order": "C"},
    )


def iterate_blocks(shape: Shape, block: Shape) -> Iterator[tuple[slice, ...]]:
    """Yield the windows of `block` that tile `shape`, in C order."""
    starts = (range(0, n, b) for n, b in zip(shape, block, strict=True))
    for corner in product(*starts):
        yield tuple(slice(a, min(a + b, n)) for a, b, n in zip(corner, block, shape, strict=True))


def shard_files(folder: Path, array: ZarrArray) -> Iterator[Path]:
    """Yield the path of each shard of the array in `folder`."""
    shards = array.shards or array.chunks
    counts = (math.ceil(n / s) for n, s in zip(array.shape, shards, strict=True))
    for index in product(*(range(n) for n in counts)):
        yield folder.joinpath("c", *(str(i) for i in index))


def open_group(path: Path, kind: Name) -> tuple[zarr.Group, Mapping[str, object]]:
    """Return the group at `path` and our own block of its attributes, which obeys the schema `kind`.

    Raises
    ------
    StoreError
        `store-missing`, `store-torn` (metadata unreadable), `store-foreign` (not ours),
        `schema-version` or `schema-invalid`.
    """
    if not (path / "zarr.json").is_file():
        raise StoreError("store-missing", "no such store", where=path.name, todo=REBUILD)
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        metadata = group.attrs.asdict().get("srrd")
    except StoreError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise _torn_error(path.name, error) from error
    if not isinstance(metadata, Mapping):
        raise StoreError(
            "store-foreign", "not a store of this package", where=path.name, expected=schema_version(kind)
        )
    validate(kind, metadata, path.name)
    return group, metadata


def open_array(path: Path, group: zarr.Group, name: str) -> ZarrArray:
    """Return the array `name` of `group` after checking that all its shards are present.

    Raises
    ------
    StoreError
        `array-missing`, or `shard-missing` naming the first absent or empty shard.
    """
    try:
        array = group[name]
    except StoreError:
        raise
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise StoreError("array-missing", f"no array {name!r}", where=path.name, todo=REBUILD) from error
    if not isinstance(array, zarr.Array):
        raise StoreError("array-missing", f"{name!r} is not an array", where=path.name, todo=REBUILD)
    for file in shard_files(path / name, array):
        if not _size(file):
            missing = file.relative_to(path).as_posix()
            raise StoreError(
                "shard-missing", f"shard {missing} is absent or empty", where=path.name, todo=REBUILD
            )
    return array


def _size(file: Path) -> int:
    """Return the bytes of a shard; 0 where there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def read_window(path: Path, array: ZarrArray, window: tuple[slice, ...] | slice = slice(None)) -> Array:
    """Return the values of `window`.

    Raises
    ------
    StoreError
        `store-torn` where a checksum fails or a shard is cut short.
    """
    try:
        return np.asarray(array[window])
    except StoreError:
        raise
    except (ValueError, RuntimeError, OSError, KeyError, IndexError, EOFError) as error:
        raise _torn_error(f"{path.name}/{array.basename}", error) from error


def hash_array(values: Array, *about: str) -> str:
    """Return the SHA-256 of dtype, shape, `about` and the values in C order, little-endian."""
    digest = begin_digest(values.dtype, values.shape, *about)
    for plane in values:
        digest.update(np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()


def begin_digest(dtype: np.dtype[np.generic], shape: Shape, *about: str) -> hashlib._Hash:
    """Return the digest that `hash_array` feeds, so that large arrays can be fed slab by slab."""
    header = "|".join([dtype.newbyteorder("<").str, "x".join(str(n) for n in shape), *about])
    return hashlib.sha256(header.encode())


def to_little_endian(values: Array) -> Array:
    """Return `values` in C order and little-endian, copied only where needed."""
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))


def altered_error(where: str, name: str) -> StoreError:
    """Return the error for readable values that differ from those that were written."""
    return StoreError(
        "store-altered", f"the values of {name!r} are not those that were written", where=where, todo=REBUILD
    )


def _torn_error(where: str, error: Exception) -> StoreError:
    reason = (str(error).splitlines() or [""])[0][:160]
    return StoreError(
        "store-torn",
        "stored data cannot be decoded",
        where=where,
        got=f"{type(error).__name__} {reason}",
        todo=REBUILD,
    )
