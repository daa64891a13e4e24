"""Shards of patches: sharded Zarr v3 arrays with one row a patch,
and a Parquet index of the same stem in the same folder.

One writer owns a whole shard. Arrays and index carry each other's hash, so that a torn pair is found; row
counts and checksums are verified on read, so that a missing or altered
row is an error and never a row of zeros.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import Knee, Patch
from srrd_ray.storage import sharded
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.schemas import schema_version, validate

CHUNK_BYTES = 512 * 1024
COLUMNS = pa.schema(
    [
        ("row", pa.int64()),
        ("participant", pa.string()),
        ("side", pa.string()),
        ("bone", pa.string()),
        ("compartment", pa.string()),
        ("x_mm", pa.float64()),
        ("y_mm", pa.float64()),
        ("z_mm", pa.float64()),
        ("depth_mm", pa.float64()),
    ]
)
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")

Attribute = str | int | float | bool


def index_path(path: Path) -> Path:
    """Return the path of the index of the shard at `path`: the Parquet file of the same stem."""
    return path.with_suffix(".parquet")


def write_shard(
    path: Path,
    arrays: Mapping[str, NDArray[np.generic]],
    patches: Sequence[Patch],
    attributes: Mapping[str, Attribute] | None = None,
) -> None:
    """Write one whole shard and its index; older ones are replaced. Axis 0 of every array is the row.

    `patches` are in row order (0, 1, …); their `store` is not written: a shard is known by where it lies.

    Raises
    ------
    InputError
        `shard-rows` where an array or the patches disagree about the rows,
        `shard-name` for a name that is no word.
    """
    _check_rows(path, arrays, patches)
    table = _to_table(patches)
    with replacing(path) as temporary:
        group = zarr.create_group(temporary, zarr_format=3)
        described = {name: _write_array(group, name, arrays[name]) for name in sorted(arrays)}
        metadata = {
            "schema": schema_version("patches"),
            "rows": len(patches),
            "arrays": described,
            "index_sha256": _index_hash(table),
            "attributes": dict(sorted((attributes or {}).items())),
        }
        validate("patches", metadata, path.name)
        group.update_attributes({"srrd": metadata})
    _write_index(index_path(path), table, hash_json(described))


def read_shard(
    path: Path, names: tuple[str, ...] = (), rows: slice = slice(None)
) -> dict[str, NDArray[np.generic]]:
    """Return the arrays `names` (all where empty) of a shard, cut to `rows`.

    Raises
    ------
    StoreError
        `store-missing`, `schema-version`, `array-missing`, `shard-missing`, `shard-rows` or `store-torn`.
    """
    group, metadata = sharded.open_group(path, "patches")
    wanted = names or tuple(sorted(_array_descriptions(metadata)))
    return {name: sharded.read_window(path, _open(path, group, metadata, name), rows) for name in wanted}


def read_attributes(path: Path) -> dict[str, Attribute]:
    """Return what the writer of a shard noted about it."""
    attributes = sharded.open_group(path, "patches")[1].get("attributes")
    return dict(attributes) if isinstance(attributes, Mapping) else {}


def read_index(path: Path) -> tuple[Patch, ...]:
    """Return the patches of the shard at `path`, in row order, from its index alone.

    Raises
    ------
    StoreError
        `index-missing`, `index-torn` or `schema-version`.
    """
    table = _read_table(index_path(path))
    columns = table.to_pydict()
    return tuple(
        Patch(
            store=path,
            row=columns["row"][i],
            knee=Knee(participant=columns["participant"][i], side=columns["side"][i]),
            bone=columns["bone"][i],
            compartment=columns["compartment"][i],
            center_lps_mm=(columns["x_mm"][i], columns["y_mm"][i], columns["z_mm"][i]),
            depth_mm=columns["depth_mm"][i],
        )
        for i in range(table.num_rows)
    )


def verify_shard(path: Path) -> int:
    """Return the number of rows after reading everything and comparing it with what was written.

    Raises
    ------
    StoreError
        As `read_shard` and `read_index`; `store-altered` where values, rows or the pair of files differ.
    """
    group, metadata = sharded.open_group(path, "patches")
    described = _array_descriptions(metadata)
    for name, block in described.items():
        values = sharded.to_little_endian(sharded.read_window(path, _open(path, group, metadata, name)))
        if sharded.hash_array(values) != block.get("sha256"):
            raise sharded.altered_error(path.name, name)
    table = _read_table(index_path(path))
    notes = _notes(table)
    if _index_hash(table) != metadata.get("index_sha256") or notes.get("arrays_sha256") != hash_json(
        described
    ):
        raise sharded.altered_error(path.name, "index")
    return int(table.num_rows)


def _check_rows(path: Path, arrays: Mapping[str, NDArray[np.generic]], patches: Sequence[Patch]) -> None:
    counts = {name: array.shape[0] if array.ndim else -1 for name, array in arrays.items()}
    counts["patches"] = len(patches)
    if (
        not arrays
        or set(counts.values()) != {len(patches)}
        or [p.row for p in patches] != list(range(len(patches)))
    ):
        raise InputError(
            "shard-rows",
            "every array has one row a patch, and patches are in row order",
            where=path.name,
            got=str(counts),
        )
    odd = [name for name in arrays if not _NAME.match(name)]
    if odd:
        raise InputError(
            "shard-name", "array names are lower-case words", where=path.name, got=repr(odd[0][:32])
        )


def _write_array(group: zarr.Group, name: str, values: NDArray[np.generic]) -> dict[str, object]:
    values = sharded.to_little_endian(values)
    row_bytes = max(1, values.nbytes // max(1, values.shape[0]))
    chunk = (max(1, CHUNK_BYTES // row_bytes), *values.shape[1:])
    array = sharded.create_array(group, name, values.shape, values.dtype, chunk=chunk, shard=values.shape)
    if values.size:
        array[:] = values
    return {"dtype": values.dtype.str, "shape": list(values.shape), "sha256": sharded.hash_array(values)}


def _array_descriptions(metadata: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    blocks = metadata["arrays"]
    assert isinstance(blocks, Mapping)
    return {str(name): block for name, block in blocks.items()}


def _open(path: Path, group: zarr.Group, metadata: Mapping[str, object], name: str) -> sharded.ZarrArray:
    array = sharded.open_array(path, group, name)
    if array.shape[0] != metadata.get("rows"):
        raise StoreError(
            "shard-rows", f"array {name!r} and the shard disagree about the rows", where=path.name,
            got=str(array.shape[0]), expected=str(metadata.get("rows")), todo=sharded.REBUILD,
        )  # fmt: skip
    return array


def _to_table(patches: Sequence[Patch]) -> pa.Table:
    rows = [
        {
            "row": patch.row,
            "participant": patch.knee.participant,
            "side": patch.knee.side,
            "bone": patch.bone,
            "compartment": patch.compartment,
            "x_mm": patch.center_lps_mm[0],
            "y_mm": patch.center_lps_mm[1],
            "z_mm": patch.center_lps_mm[2],
            "depth_mm": patch.depth_mm,
        }
        for patch in patches
    ]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def _index_hash(table: pa.Table) -> str:
    return hash_json(table.select(COLUMNS.names).to_pydict())


def _write_index(path: Path, table: pa.Table, arrays_sha256: str) -> None:
    notes = {
        "schema": schema_version("patches"),
        "rows": table.num_rows,
        "rows_sha256": _index_hash(table),
        "arrays_sha256": arrays_sha256,
    }
    marked = table.replace_schema_metadata({"srrd": json.dumps(notes, sort_keys=True)})
    with replacing(path) as temporary:
        pq.write_table(marked, temporary, compression="zstd", write_page_checksum=True)


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise StoreError("index-missing", "no index of the shard", where=path.name, todo=sharded.REBUILD)
    try:
        with local_copy(path) as here:
            table = pq.read_table(here, page_checksum_verification=True)
        notes = _notes(table)
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise _index_torn(path, str(error)) from error
    if notes.get("schema") != schema_version("patches"):
        raise StoreError(
            "schema-version",
            "index of another version",
            where=path.name,
            got=str(notes.get("schema")),
            expected=schema_version("patches"),
        )
    if table.column_names != COLUMNS.names or notes.get("rows_sha256") != _index_hash(table):
        raise _index_torn(path, "rows are not those that were written")
    return table


def _notes(table: pa.Table) -> dict[str, object]:
    raw = (table.schema.metadata or {}).get(b"srrd", b"{}")
    notes = json.loads(raw)
    return notes if isinstance(notes, dict) else {}


def _index_torn(path: Path, reason: str) -> StoreError:
    got = (reason.splitlines() or [""])[0][:160]
    return StoreError(
        "index-torn", "the index cannot be trusted", where=path.name, got=got, todo=sharded.REBUILD
    )
