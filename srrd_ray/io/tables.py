"""Tables as Parquet: sorted by the caller, same bytes for the same rows, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from srrd_ray.errors import StoreError
from srrd_ray.io.atomic import replacing


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write `table` without its index to a Parquet file."""
    with replacing(path) as beside:
        table.to_parquet(beside, index=False, compression="zstd")


def read_table(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return a Parquet table.

    Raises
    ------
    StoreError
        `table-unreadable` where the file is absent or torn, `table-columns` where one of `columns` is missing.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StoreError(
            "table-unreadable",
            "cannot read a table",
            where=path.name,
            got=type(error).__name__,
            todo="Delete the file and run the same command again.",
        ) from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise StoreError("table-columns", f"no column {missing[0]!r}", where=path.name, got=", ".join(table.columns))
    return table
