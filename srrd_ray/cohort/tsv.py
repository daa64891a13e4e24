"""Tables of a cohort as text: cells separated by tabs, rows numbered as an editor numbers their lines."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from srrd_ray.core.errors import CohortError

Row: TypeAlias = tuple[int, Mapping[str, str]]
SAVE = "Save it as UTF-8 text, separated by tabs."


def read_rows(path: Path, columns: Sequence[str], faults: list[CohortError]) -> list[Row]:
    """Return (line of the file, cells by column) of each row of a table that has all `columns`.

    Rows without any text, as spreadsheets leave them, are none. What is wrong is added to `faults`:
    `table-missing`, `table-unreadable`, `table-column`, `table-row`.
    """
    try:
        lines = _lines(path)
        cells = [(number, found) for number, line in lines if any(found := _cells(path.name, number, line))]
        if not cells:
            raise CohortError(
                "table-column", "no row", where=path.name, expected=", ".join(columns), todo=SAVE
            )
        header = _header(path.name, *cells[0], columns)
    except CohortError as error:
        faults.append(error)
        return []
    return list(_rows(path.name, header, cells[1:], faults))


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        if not path.is_file() and not path.is_symlink():
            raise CohortError("table-missing", "no such table", where=path.name, todo=f"Write {path.name}.")
        data = path.read_bytes()
    except OSError as error:  # no right, a link to nothing or to itself
        raise CohortError(
            "table-unreadable", "the table cannot be read", where=path.name, got=type(error).__name__
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        row = len(re.split(rb"\r\n|\r|\n", data[: error.start]))
        where = path.name if wide else f"{path.name}, row {row}"
        raise CohortError(
            "table-unreadable", "not UTF-8 text with tabs", where=where,
            got="UTF-16" if wide else "a byte that is no UTF-8", todo=SAVE,
        ) from error  # fmt: skip
    return list(enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1))


def _cells(name: str, number: int, line: str) -> list[str]:
    """Return the cells of one line, without the spaces round them.

    Each line is read by itself: a quotation mark that is not closed does not swallow those that follow.
    """
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter="\t", strict=True), [])]
    except csv.Error as error:
        raise CohortError(
            "table-unreadable", "a quotation mark without its second", where=f"{name}, row {number}",
            todo="Remove it.",
        ) from error  # fmt: skip


def _header(name: str, number: int, found: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the names of the columns, after checking that those that are read are there, each once."""
    for column in columns:
        count = found.count(column)
        if count != 1:
            raise CohortError(
                "table-column",
                f"{count} columns {column!r}" if count else f"no column {column!r}",
                where=f"{name}, row {number}",
                got=f"{len(found)} columns",
                expected=", ".join(columns),
                todo="Keep one of them." if count else "The table is separated by tabs.",
            )
    return list(found)


def _rows(
    name: str, header: Sequence[str], cells: Sequence[tuple[int, list[str]]], faults: list[CohortError]
) -> Iterator[Row]:
    """Yield the rows; cells that are missing at the end of one are blank, as editors cut them off."""
    for number, found in cells:
        if any(found[len(header) :]):
            faults.append(
                CohortError(
                    "table-row", "more cells than columns", where=f"{name}, row {number}",
                    got=str(len(found)), expected=str(len(header)), todo="Remove a tab, or name the column.",
                )
            )  # fmt: skip
            continue
        yield number, dict(zip(header, [*found, *[""] * (len(header) - len(found))], strict=False))
