"""Tables as Parquet: sorted by the caller, same bytes for the same rows, written whole or not at all.

A table with a contract carries the schema's version in its metadata and is checked when it is written and when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from srrd_ray.errors import StoreError
from srrd_ray.io.atomic import replacing
from srrd_ray.io.places import local_copy
from srrd_ray.io.schemas import Name, validate_rows, version

KEY = b"srrd"
CONTRACTS: Mapping[str, Name] = {
    "measures": "morphometry", "predictions": "predictions", "knees": "knees", "registration": "registration",
    "diagnosis": "diagnosis", "target_errors": "target_errors", "truth": "truth", "tune": "tune",
}  # fmt: skip
"""The contract of each table of a run; a file of that name has it wherever it lies."""
THREADS = 8
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
        stored = stored.replace_schema_metadata({**(stored.schema.metadata or {}), KEY: version(contract).encode()})
    with replacing(path) as beside:
        pq.write_table(stored, beside, compression="zstd")


def read_table(path: Path, columns: tuple[str, ...] = (), contract: Name | None = None) -> pd.DataFrame:
    """Return a Parquet table.

    Raises
    ------
    StoreError
        `table-unreadable` where the file is absent or torn, `table-columns` where one of `columns` is missing;
        `schema-version` or `schema-invalid` where it does not obey `contract`.
    """
    contract = contract or CONTRACTS.get(path.stem)
    stored = _stored(path, contract)
    table: pd.DataFrame = stored.to_pandas()
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise StoreError("table-columns", f"no column {missing[0]!r}", where=path.name, got=", ".join(table.columns))
    if contract:
        validate_rows(contract, table, path.name)
    return table


def read_tables(paths: Sequence[Path], contract: Name | None = None) -> pd.DataFrame:
    """Return the rows of many small tables, one after the other; they are read some at a time and checked as a whole.

    Raises
    ------
    StoreError
        As `read_table`.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [part.replace_schema_metadata(None) for part in pool.map(lambda path: _stored(path, contract), paths)]
    table: pd.DataFrame = pa.concat_tables(parts, promote_options="permissive").to_pandas()
    if contract:
        try:
            validate_rows(contract, table)
        except StoreError:
            for path in paths:  # names the one that is at fault
                read_table(path, contract=contract)
            raise
    return table


def _stored(path: Path, contract: Name | None) -> pa.Table:
    """Return a table as it is stored, of the version of `contract`."""
    try:
        with local_copy(path) as here, pq.ParquetFile(here) as file:
            stored = file.read()
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise StoreError(
            "table-unreadable", "cannot read a table", where=path.name, got=type(error).__name__, todo=AGAIN
        ) from error
    found = (stored.schema.metadata or {}).get(KEY, b"none").decode(errors="replace")
    if contract and found != version(contract):
        raise StoreError(
            "schema-version", "stored by another version", where=path.name, got=found[:64], expected=version(contract),
            todo=AGAIN,
        )  # fmt: skip
    return stored
