"""Tables as Parquet: sorted by the caller, same bytes for the same rows, written whole or not at all.

A table with a contract carries the schema's version in its metadata,
has the schema's types even where all values are missing,
and is checked when it is written and when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from srrd_ray.core.errors import StoreError
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.schemas import Name, column_types, schema_version, validate_rows

KEY = b"srrd"
CONTRACTS: Mapping[str, Name] = {
    "measures": "morphometry", "predictions": "predictions", "knees": "knees", "registration": "registration",
    "diagnosis": "diagnosis", "target_errors": "target_errors", "truth": "truth", "tune": "tune",
    "labels": "labels", "synthesis_figures": "synthesis_figures",
    "shape": "shape", "diagnosis_variants": "diagnosis_variants",
}  # fmt: skip
"""The contract of each table of a run; a file of that name has it wherever it lies."""
THREADS = 8
AT_ONCE = 100
"""Parts in memory while tables are joined; each batch of them is a row group."""
ARROW = {"string": pa.large_string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that a spreadsheet runs."""
AGAIN = "Delete the file and run the same command again."


def write_table(path: Path, table: pd.DataFrame, contract: Name | None = None) -> None:
    """Write `table` without its index to a Parquet file.

    Raises
    ------
    StoreError
        `schema-invalid` where the rows do not obey `contract`, or that of the table's name.
    """
    contract = contract or CONTRACTS.get(path.stem)
    stored = pa.Table.from_pandas(table, preserve_index=False)
    if contract:
        validate_rows(contract, table, path.name)
        stored = stored.cast(_typed_schema(stored.schema, contract))
    with replacing(path) as temporary:
        pq.write_table(stored, temporary, compression="zstd")


def join_tables(path: Path, parts: Sequence[Path], contract: Name | None = None) -> None:
    """Write the rows of many small tables, one after the other, to one file;
    `AT_ONCE` of them are in memory at a time.

    Raises
    ------
    StoreError
        As `read_table`, naming the part at fault; `table-columns` where the columns of the parts differ.
    """
    contract = contract or CONTRACTS.get(path.stem)
    with ThreadPoolExecutor(THREADS) as pool:
        runs = (
            _read_joined(parts[at : at + AT_ONCE], contract, pool) for at in range(0, len(parts), AT_ONCE)
        )
        first = next(runs)
        with (
            replacing(path) as temporary,
            pq.ParquetWriter(temporary, first.schema, compression="zstd") as file,
        ):
            for rows in chain([first], runs):
                if rows.schema.names != first.schema.names:
                    raise StoreError(
                        "table-columns", "its parts have different columns", where=path.name, todo=AGAIN
                    )
                file.write_table(rows.cast(first.schema))


def read_table(
    path: Path, columns: tuple[str, ...] = (), contract: Name | None = None, *, coded: bool = False
) -> pd.DataFrame:
    """Return a Parquet table, or only `columns` of it;
    `coded` reads strings as sorted categories, a few bytes a row.

    Raises
    ------
    StoreError
        `table-unreadable` where the file is absent or torn,
        `table-columns` where one of `columns` is missing;
        `schema-version` or `schema-invalid` where it does not obey `contract`.
    """
    contract = contract or CONTRACTS.get(path.stem)
    stored, names = _read_stored(path, contract, columns, coded=coded)
    missing = [name for name in columns if name not in names]
    if missing:
        raise StoreError("table-columns", f"no column {missing[0]!r}", where=path.name, got=", ".join(names))
    table: pd.DataFrame = stored.to_pandas()
    for name in table.columns[table.dtypes == "category"]:
        table[name] = table[name].cat.reorder_categories(sorted(table[name].cat.categories))
    if contract:
        validate_rows(contract, table, path.name, stored=names)
    return table


def _read_joined(paths: Sequence[Path], contract: Name | None, pool: ThreadPoolExecutor) -> pa.Table:
    """Return the rows of a batch of small tables, read in parallel and checked as a whole."""
    parts = list(pool.map(lambda path: _read_stored(path, contract)[0], paths))
    rows = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    if contract:
        rows = rows.cast(_typed_schema(rows.schema, contract))
        try:
            validate_rows(contract, rows.to_pandas())
        except StoreError:
            for path in paths:  # names the one that is at fault
                read_table(path, contract=contract)
            raise
    return rows


def _typed_schema(stored: pa.Schema, contract: Name) -> pa.Schema:
    """Return a schema with the types and the version of `contract`:
    a column without values has no type by itself.
    """
    types = column_types(contract)
    fields = [field.with_type(ARROW[types[field.name]]) if field.name in types else field for field in stored]
    return pa.schema(fields, {**(stored.metadata or {}), KEY: schema_version(contract).encode()})


def _read_stored(
    path: Path, contract: Name | None, columns: tuple[str, ...] = (), *, coded: bool = False
) -> tuple[pa.Table, list[str]]:
    """Return a table of the version of `contract`, or only `columns`, and the names of all its columns."""
    try:
        with (
            local_copy(path) as here,
            pq.ParquetFile(here, read_dictionary=list(columns) if coded else None) as file,
        ):
            names = list(file.schema_arrow.names)
            stored = file.read([name for name in columns if name in names] or None)
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise StoreError(
            "table-unreadable", "cannot read a table", where=path.name, got=type(error).__name__, todo=AGAIN
        ) from error
    version = (stored.schema.metadata or {}).get(KEY, b"none").decode(errors="replace")
    if contract and version != schema_version(contract):
        raise StoreError(
            "schema-version", "stored by another version", where=path.name, got=version[:64],
            expected=schema_version(contract),
            todo=AGAIN,
        )  # fmt: skip
    return stored, names


def escape_formula(cell: object) -> str:
    """Return the text of a cell for CSV; one that a spreadsheet would run as a formula gets an apostrophe."""
    text = str(cell)
    return f"'{text}" if text.startswith((*FORMULA, "'")) else text
