"""Measures of many bone volumes as one table, Parquet or CSV:
a row an image, validated on writing and reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.schemas import validate
from srrd_ray.storage.tables import escape_formula, read_table, write_table

Cell: TypeAlias = float | int | str | None
Row: TypeAlias = Mapping[str, Cell]

TEXT = (
    "image", "status", "code", "message", "method", "modality", "polarity", "marrow_from", "Plate.method",
    "input_sha256", "image_sha256", "settings", "units", "notes", "software",
)  # fmt: skip
TABLES = (".parquet", ".csv")
WHOLE = ("n_voxels", "Euler", "Plate.points")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows to ``.parquet`` or ``.csv``;
    in CSV a text that a spreadsheet would run as a formula gets an apostrophe.

    Raises
    ------
    StoreError
        `schema-invalid` where a row does not obey ``srrd-bone/1``.
    """
    require_table(path)
    for row in rows:
        validate("bone", dict(row), path.name)
    table = _cast_columns(pd.DataFrame(list(rows)))
    if _suffix(path) == ".parquet":
        write_table(path, table)
        return
    for name in set(TEXT) & set(table.columns):
        table[name] = table[name].map(escape_formula, na_action="ignore")
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_rows(path: Path) -> list[dict[str, Cell]]:
    """Return the rows of a table that `write_rows` wrote.

    Raises
    ------
    StoreError
        `table-unreadable`, or `schema-invalid` as in `write_rows`.
    """
    require_table(path)
    table = _cast_columns(read_table(path) if _suffix(path) == ".parquet" else _read_csv(path))
    rows: list[dict[str, Cell]] = json.loads(table.to_json(orient="records", double_precision=15))
    exact = table.to_dict("records")
    for row, cells in zip(rows, exact, strict=True):
        row |= {name: float(str(cells[name])) for name, value in row.items() if isinstance(value, float)}
        validate("bone", row, path.name)
    return rows


def is_table(path: Path) -> bool:
    """Return whether a name is a table's, in capitals or not."""
    return _suffix(path) in TABLES


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def require_table(path: Path) -> None:
    """Refuse (`table-format`) a name that is no table's."""
    if not is_table(path):
        raise ConfigError("table-format", "not a table's name", got=path.name, expected=".parquet or .csv")


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with local_copy(path) as here:
            table = pd.read_csv(here, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise StoreError(
            "table-unreadable", "cannot read a table", where=path.name, got=type(error).__name__
        ) from error
    for name in set(TEXT) & set(table.columns):
        table[name] = table[name].map(lambda cell: str(cell).removeprefix("'"), na_action="ignore")
    return table


def _cast_columns(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: _column_type(name) for name in table.columns})


def _column_type(name: str) -> str:
    if name in TEXT:
        return "string"
    return "Int64" if name in WHOLE else "float64"
