"""Measures of many bone volumes as one table, Parquet or CSV:
a row an image, validated on writing and reading.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.core.one_line import printable
from srrd_ray.imaging.reasons import explain
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.schemas import columns_of, validate
from srrd_ray.storage.tables import escape_formula, read_table, write_table

Cell: TypeAlias = float | int | str | None
Row: TypeAlias = Mapping[str, Cell]

TEXT = (
    "image", "status", "code", "message", "method", "modality", "polarity", "marrow_from", "Plate.method",
    "input_sha256", "image_sha256", "row_sha256", "settings", "units", "notes", "software",
)  # fmt: skip
TABLES = (".parquet", ".csv")
SHOWN = 3
ELSEWHERE = "Name another table with --out, or move this one away: it is then written anew."
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
        `table-unreadable`, `table-altered` where somebody has changed its columns, or `schema-invalid` as in
        `write_rows`.
    """
    require_table(path)
    table = read_table(path) if _suffix(path) == ".parquet" else _read_csv(path)
    _require_own(path, table)
    table = _cast_columns(table)
    rows: list[dict[str, Cell]] = json.loads(table.to_json(orient="records", double_precision=15))
    exact = table.to_dict("records")
    for row, cells in zip(rows, exact, strict=True):
        row |= {name: float(str(cells[name])) for name, value in row.items() if isinstance(value, float)}
        validate("bone", row, path.name)
    return rows


def read_rows_of(path: Path, images: Collection[str]) -> list[dict[str, Cell]]:
    """Return the rows of the table at `path`, none where there is no table yet: it will be written anew.

    Raises
    ------
    ConfigError
        `table-other-images` where it has rows of images that are none of `images`: they would be lost.
    StoreError
        As `read_rows`.
    """
    rows = read_rows(path) if path.is_file() else []
    kept = {printable(name) for name in images}
    lost = [str(row["image"]) for row in rows if row["image"] not in kept]
    if lost:
        shown = ", ".join(lost[:SHOWN]) + (", ..." if len(lost) > SHOWN else "")
        raise ConfigError(
            "table-other-images", "the table has rows of images that are not among those to measure",
            where=path.name, got=f"{len(lost)} of {len(rows)} rows: {shown}",
            todo="Name another table with --out; remove this one if its rows are not needed any more.",
        )  # fmt: skip
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
            "table-unreadable", "cannot read a table", where=path.name,
            got="an empty file" if isinstance(error, pd.errors.EmptyDataError) else explain(error),
            todo=ELSEWHERE,
        ) from error  # fmt: skip
    for name in set(TEXT) & set(table.columns):
        table[name] = table[name].map(lambda cell: str(cell).removeprefix("'"), na_action="ignore")
    return table


def _require_own(path: Path, table: pd.DataFrame) -> None:
    """Refuse (`table-altered`) a table that another program has written: what it added would be lost."""
    known = columns_of("bone").rules
    strange = [str(name) for name in table.columns if name not in known]
    got = f"columns {', '.join(strange)[:60]!r}" if strange else _first_misfit(table)
    if got:
        raise StoreError(
            "table-altered", "the table was changed since it was written", where=path.name, got=got,
            expected="commas between columns, decimal points, and no column beside those that were written",
            todo=ELSEWHERE,
        )  # fmt: skip


def _first_misfit(table: pd.DataFrame) -> str:
    """Return the first cell that is no number where its column has numbers; empty where there is none."""
    for name in table.columns:
        if name not in TEXT:
            cells = table[name].dropna()
            bad = cells[pd.to_numeric(cells, errors="coerce").isna()]
            if len(bad):
                return f"{str(bad.iloc[0])[:20]!r} in column {name}"
    return ""


def _cast_columns(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: _column_type(name) for name in table.columns})


def _column_type(name: str) -> str:
    if name in TEXT:
        return "string"
    return "Int64" if name in WHOLE else "float64"
