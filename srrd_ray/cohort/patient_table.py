"""A spreadsheet of patients as a hospital saves it: commas, semicolons or tabs, a row a patient or a knee."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from srrd_ray.core.errors import CohortError, ConfigError
from srrd_ray.core.records import Side

Field: TypeAlias = Literal["patient", "side", "age", "sex", "kl", "kl_l", "kl_r", "oa", "oa_l", "oa_r"]
NAMES: Final[Mapping[Field, tuple[str, ...]]] = {
    "patient": (
        *("patient", "patientid", "participant", "participantid", "subject", "subjectid", "id", "mrn", "pid"),
    ),
    "side": ("side", "laterality", "knee", "seite"),
    "age": ("age", "ageyears", "alter"),
    "sex": ("sex", "gender", "geschlecht"),
    "kl": ("kl", "klgrade", "kellgren", "kellgrenlawrence", "kellgrenlawrencegrade"),
    "kl_l": ("kll", "klleft", "klgradel", "klgradeleft", "leftkl", "klgradleft", "kllinks"),
    "kl_r": ("klr", "klright", "klgrader", "klgraderight", "rightkl", "klrechts"),
    "oa": ("oa", "osteoarthritis", "arthrose"),
    "oa_l": ("oal", "oaleft", "leftoa", "oalinks"),
    "oa_r": ("oar", "oaright", "rightoa", "oarechts"),
}  # fmt: skip
"""Names of columns that are known, without case and marks."""
_SIDES: Final[Mapping[str, Side]] = {
    **dict.fromkeys(("l", "left", "li", "links", "lt"), "L"),
    **dict.fromkeys(("r", "right", "re", "rechts", "rt"), "R"),
}  # fmt: skip
BLANK: Final = "n/a"


@dataclass(frozen=True, kw_only=True, slots=True)
class PatientRow:
    """What is told of a patient, as text; grade and OA by side, under "" where the table names none.

    `sides` are those that have a row of their own.
    """

    age: str = BLANK
    sex: str = BLANK
    kl: Mapping[str, str] = field(default_factory=dict)
    oa: Mapping[str, str] = field(default_factory=dict)
    sides: frozenset[Side] = frozenset()


def read_patients(path: Path, columns: Mapping[str, str]) -> dict[str, PatientRow]:
    """Return the rows of a spreadsheet by the patient's id as it stands there.

    `columns` names columns whose name is not known (``{"patient": "Pat.-Nr."}``).

    Raises
    ------
    CohortError
        `table-missing`, `table-unreadable`, `table-format` (a workbook), `table-column`, `side-invalid`,
        `patient-contradiction` where two rows of one patient tell different things.
    """
    lines = _lines(path)
    delimiter = max("\t;,", key=lambda mark: next(filter(str.strip, lines)).count(mark))
    reader = csv.reader(lines, delimiter=delimiter)
    rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    places = _places(path.name, [cell.strip() for cell in rows[0][1]], columns)
    found: dict[str, PatientRow] = {}
    for number, cells in rows[1:]:
        row = {name: cells[at].strip() if at < len(cells) else "" for name, at in places.items()}
        if row["patient"]:
            patient, where = row["patient"], f"{path.name}, row {number}"
            told = _row(row, where)
            found[patient] = _merged(found[patient], told, where) if patient in found else told
    return found


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise CohortError("table-missing", "no such table", where=path.name) from error
    except OSError as error:
        raise CohortError(
            "table-unreadable", "the table cannot be read", where=path.name, got=type(error).__name__
        ) from error
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise CohortError(
            "table-format", "a workbook is not read", where=path.name, expected="text: CSV or TSV",
            todo="Save the sheet as CSV UTF-8.",
        )  # fmt: skip
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CohortError(
            "table-unreadable", "not UTF-8 text", where=path.name, todo="Save it as CSV UTF-8."
        ) from error
    if sum(bool(line.strip()) for line in lines) < 2:
        raise CohortError("table-column", "no row", where=path.name, expected="a header and rows")
    return lines


def _places(name: str, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Return where each field stands; a field that two columns could be is refused."""
    unknown = [field for field in columns if field not in NAMES]
    if unknown:
        raise ConfigError("column-unknown", "no such field", got=unknown[0][:32], expected=", ".join(NAMES))
    bare = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in header]
    places: dict[str, int] = {}
    for field_name, known in NAMES.items():
        wanted = columns.get(field_name)
        at = [k for k, cell in enumerate(header) if (cell == wanted if wanted else bare[k] in known)]
        if len(at) > 1 or (not at and (wanted or field_name == "patient")):
            raise CohortError(
                "table-column", f"{len(at)} columns for {field_name}", where=name, expected="1",
                got=f"{len(header)} columns",
                todo=f"Name it: --column {field_name}=NAME.",
            )  # fmt: skip
        places.update({field_name: at[0]} if at else {})
    return places


def _row(row: Mapping[str, str], where: str) -> PatientRow:
    grades = {key: dict(_by_side(row, key)) for key in ("kl", "oa")}
    side = _side(row.get("side", ""), where)
    for key in ("kl", "oa"):
        grades[key].update({side or "": row[key]} if row.get(key) else {})
    return PatientRow(
        age=re.sub(r"(?<=\d),(?=\d)", ".", row.get("age", "")) or BLANK,
        sex=row.get("sex", "") or BLANK,
        kl=grades["kl"],
        oa=grades["oa"],
        sides=frozenset({side} if side else ()),
    )


def _by_side(row: Mapping[str, str], key: str) -> Iterator[tuple[str, str]]:
    for side in ("L", "R"):
        text = row.get(f"{key}_{side.lower()}", "")
        if text:
            yield side, text


def _side(text: str, where: str) -> Side | None:
    if not text:
        return None
    side = _SIDES.get(text.lower())
    if side is None:
        raise CohortError(
            "side-invalid", "no side of a knee", where=where, got=repr(text[:8]), expected="L or R"
        )
    return side


def _merged(first: PatientRow, second: PatientRow, where: str) -> PatientRow:
    """Return what two rows of a patient tell together."""
    merged: dict[str, str] = {}
    for name in ("age", "sex"):
        told = {getattr(row, name) for row in (first, second)} - {BLANK}
        if len(told) > 1:
            raise _contradiction(name, where)
        merged[name] = told.pop() if told else BLANK
    for name in ("kl", "oa"):
        a, b = getattr(first, name), getattr(second, name)
        if any(a[side] != b[side] for side in a.keys() & b.keys()):
            raise _contradiction(name, where)
    return PatientRow(
        age=merged["age"], sex=merged["sex"], kl={**first.kl, **second.kl}, oa={**first.oa, **second.oa},
        sides=first.sides | second.sides,
    )  # fmt: skip


def _contradiction(name: str, where: str) -> CohortError:
    return CohortError(
        "patient-contradiction", f"two rows of one patient tell another {name}", where=where,
        todo="Correct or remove one of them.",
    )  # fmt: skip
