"""The mapping of series to knees: a table that is proposed, may be edited, and is carried out.

It joins pseudonyms and patients: it lies beside the cohort, never in it, readable by its owner alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from srrd_ray.cohort.tsv import read_rows
from srrd_ray.core.errors import CohortError
from srrd_ray.core.one_line import printable
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.tables import escape_formula

Role: TypeAlias = Literal["ct", "mr", "skip"]
SideOfScan: TypeAlias = Literal["L", "R", "both", ""]
ID: Final = re.compile(r"[A-Za-z0-9]+\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class MappingRow:
    """One series: whose knee it shows, and what it is to be. The user may change participant, side and role.

    Parameters
    ----------
    side_by
        What names the side: header, description, table, other scan (of the patient) or guess; else empty.
    reason
        Why it is skipped, or what to look at.
    """

    role: Role
    participant: str
    side: SideOfScan
    side_by: str
    modality: str
    images: int
    description: str
    reason: str
    patient: str
    series: str


COLUMNS: Final = tuple(field.name for field in fields(MappingRow))


def write_mapping(path: Path, rows: Sequence[MappingRow]) -> None:
    """Write the table, for its owner alone."""
    lines = ["\t".join(COLUMNS), *("\t".join(_cell(value) for value in astuple(row)) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")
    path.chmod(0o600)


def _cell(value: object) -> str:
    text = printable(str(value)).replace('"', "'")
    return str(escape_formula(text))


def read_mapping(path: Path) -> tuple[MappingRow, ...]:
    """Return the rows of a mapping, maybe edited.

    Raises
    ------
    CohortError
        `table-missing`, `table-unreadable`, `table-column`, `table-row`; `mapping-invalid` with the row.
    """
    faults: list[CohortError] = []
    rows = tuple(_row(path.name, number, row) for number, row in read_rows(path, COLUMNS, faults))
    if faults:
        raise faults[0]
    return rows


def _row(name: str, number: int, row: Mapping[str, str]) -> MappingRow:
    where = f"{name}, row {number}"
    role, side = row["role"].lower(), row["side"]
    participant = row["participant"].removeprefix("sub-")
    if role not in get_args(Role):
        raise _invalid("no such role", where, row["role"], "ct, mr or skip")
    if side not in get_args(SideOfScan) or (role != "skip" and not side):
        raise _invalid("no side of a knee", where, row["side"], "L, R or both")
    if role != "skip" and not ID.match(participant):
        raise _invalid("no participant", where, f"{len(participant)} characters", "letters and digits")
    return MappingRow(
        role=role,  # type: ignore[arg-type]
        participant=participant,
        side=side,  # type: ignore[arg-type]
        side_by=row["side_by"],
        modality=row["modality"],
        images=int(row["images"]) if row["images"].isdecimal() else 0,
        description=row["description"],
        reason=row["reason"],
        patient=row["patient"],
        series=row["series"],
    )


def _invalid(what: str, where: str, got: str, expected: str) -> CohortError:
    return CohortError(
        "mapping-invalid", what, where=where, got=repr(got[:16]), expected=expected, todo="Correct the row."
    )
