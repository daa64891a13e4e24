"""A new cohort from DICOM studies and a spreadsheet: proposed as a mapping, then laid out by it."""

from __future__ import annotations

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from srrd_ray.cohort.mapping import MappingRow, read_mapping, write_mapping
from srrd_ray.cohort.patient_table import BLANK, PatientRow, read_patients
from srrd_ray.cohort.proposal import match_patients, propose, sides_of
from srrd_ray.cohort.pseudonyms import read_key
from srrd_ray.core.errors import CohortError, ConfigError, StoreError
from srrd_ray.imaging.dicom.studies import FoundSeries, Studies, find_series
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import ObjectPath

MAPPING: Final = "-mapping.tsv"
"""After the name of the cohort, beside whose folder it lies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCohort:
    """What a cohort is made of.

    Parameters
    ----------
    out
        Its folder, which is not there yet or empty. The mapping is proposed beside it.
    dicom, table
        The studies, and the spreadsheet of patients where there is one.
    mapping
        The mapping to carry out; where None, one is proposed.
    columns
        Of the spreadsheet: field to name, where the name is not known.
    key
        File with the secret of the pseudonyms; where None, participants are numbered.
    copy
        Whether files are copied; else they are linked (hard links).
    """

    out: Path
    dicom: Path
    table: Path | None = None
    mapping: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    key: Path | None = None
    copy: bool = False


def parse_columns(given: Sequence[str]) -> dict[str, str]:
    """Return fields and columns of words such as ``patient=Pat.-Nr.``.

    Raises
    ------
    ConfigError
        `column-unknown` for a word without both.
    """
    pairs = [word.partition("=") for word in given]
    if any(not field_name or not name for field_name, _, name in pairs):
        raise ConfigError("column-unknown", "no field and column", expected="FIELD=COLUMN, e.g. patient=ID")
    return {field_name: name for field_name, _, name in pairs}


def proposal_of(request: NewCohort) -> tuple[Path, str]:
    """Return where a mapping was proposed, and what was found in words. Nothing else is written.

    Raises
    ------
    ConfigError
        `mapping-exists`: an edited one is not written over; `output-in-input`, `place-invalid`;
        `key-unreadable`.
    CohortError
        As `read_patients` and `match_patients`; `dicom-none` where there is no series.
    InputError
        As `find_series`.
    """
    _check_places(request)
    path = request.out.parent / f"{request.out.name}{MAPPING}"
    if path.exists():
        raise ConfigError(
            "mapping-exists", "a mapping is there already", where=path.name,
            todo=f"Carry it out: --mapping {path.name}; or remove it for a new one.",
        )  # fmt: skip
    studies = _studies(request.dicom)
    table = _patients(request)
    rows = propose(studies.series, table, read_key(request.key) if request.key else None)
    write_mapping(path, rows)
    return path, summary(rows, studies, table)


def summary(rows: Sequence[MappingRow], studies: Studies, table: Mapping[str, PatientRow]) -> str:
    """Return what was found: knees, what is skipped and why, files that are no series, rows without scans."""
    used = [row for row in rows if row.role != "skip"]
    knees: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in used:
        for side in sides_of(row.side):
            knees[(row.participant, side)].add(row.role)
    pairs = sum(len(roles) == 2 for roles in knees.values())
    patients = {row.patient for row in rows if row.patient}
    lines = [
        f"{len(rows)} series of {len(patients)} patients: {len(knees)} knees, {pairs} of them with CT and MR",
        *(f"  skipped: {count} × {why}" for why, count in _skipped(rows)),
        *(f"  to look at: {count} × {why}" for why, count in _doubtful(used)),
    ]
    if studies.other or studies.damaged:
        lines.append(f"  files: no DICOM {studies.other}, not readable or without a series {studies.damaged}")
    if table:
        matched = match_patients(sorted(patients), table)
        lines.append(
            f"  table: {len(patients) - len(matched)} patients without a row, "
            f"{len(set(table) - set(matched.values()))} rows without scans, "
            f"{sum(a != b for a, b in matched.items())} matched only without zeros at the front or case"
        )
    return "\n".join(lines)


def _skipped(rows: Sequence[MappingRow]) -> list[tuple[str, int]]:
    return Counter(row.reason for row in rows if row.role == "skip").most_common()


def _doubtful(used: Sequence[MappingRow]) -> list[tuple[str, int]]:
    return Counter(row.reason for row in used if row.reason).most_common()


def lay_out(request: NewCohort) -> str:
    """Return in words what was laid out; the cohort is whole or absent, the source is only read.

    Raises
    ------
    ConfigError
        `output-exists`, `output-in-input`, `place-invalid`.
    CohortError
        As `read_mapping`; `mapping-invalid` for a series that is not there or has changed, or a knee with
        two of one modality.
    StoreError
        `link-impossible`, `output-full`, `output-unwritable`.
    """
    assert request.mapping is not None
    _check_places(request)
    if request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        raise ConfigError(
            "output-exists", "the folder of the cohort is not empty", where=request.out.name,
            todo="Name a new folder, or remove this one.",
        )  # fmt: skip
    rows = read_mapping(request.mapping)
    series = _by_uid(_studies(request.dicom).series)
    used = [row for row in rows if row.role != "skip"]
    _check_rows(used, series, request.mapping.name)
    table = _patients(request)
    patient_of = {row.participant: series[row.series].patient for row in used}
    of_table = match_patients(sorted(set(patient_of.values())), table)
    with replacing(request.out) as temporary:
        temporary.mkdir()
        for row in used:
            _place(row, series[row.series], temporary, copy=request.copy)
        told = {
            name: table.get(of_table.get(patient, ""), PatientRow()) for name, patient in patient_of.items()
        }
        unsided = _write_tables(temporary, used, told)
    unknown = len(series.keys() - {row.series for row in rows})
    lines = [f"participants laid out in {request.out.name}: {len(told)}"]
    lines += [f"  not in the mapping, left out: series {unknown}"] if unknown else []
    lines += (
        [f"  a grade without a side and two knees, left blank: participants {unsided}"] if unsided else []
    )
    return "\n".join(lines)


def _check_places(request: NewCohort) -> None:
    if isinstance(request.out, ObjectPath) or isinstance(request.dicom, ObjectPath):
        raise ConfigError(
            "place-invalid", "a cohort is laid out on a disk", expected="a local folder",
            todo="Copy it to the object store afterwards.",
        )  # fmt: skip
    if not request.dicom.is_dir():
        raise ConfigError(
            "dicom-none", "no such folder of studies", where=request.dicom.name, todo="Give --dicom FOLDER."
        )
    if request.out.resolve().is_relative_to(request.dicom.resolve()):
        raise ConfigError(
            "output-in-input", "the cohort would lie in the folder of the studies", where=request.out.name,
            todo="Name a folder elsewhere: the source is never touched.",
        )  # fmt: skip


def _studies(folder: Path) -> Studies:
    studies = find_series(folder)
    if not studies.series:
        raise CohortError(
            "dicom-none", "no DICOM series in the folder", where=folder.name,
            got=f"{studies.other + studies.damaged} other files",
        )  # fmt: skip
    return studies


def _by_uid(series: Sequence[FoundSeries]) -> dict[str, FoundSeries]:
    """Return the series by UID, without those that two patients share."""
    counts = Counter(one.uid for one in series)
    return {one.uid: one for one in series if counts[one.uid] == 1}


def _patients(request: NewCohort) -> dict[str, PatientRow]:
    return read_patients(request.table, request.columns) if request.table else {}


def _check_rows(used: Sequence[MappingRow], series: Mapping[str, FoundSeries], name: str) -> None:
    """Refuse what would put a wrong image under a knee, or one patient under two participants."""
    seen: set[tuple[str, str, str]] = set()
    names: dict[str, set[str]] = defaultdict(set)
    for row in used:
        found = series.get(row.series)
        if found is None or found.images != row.images:
            raise _mapping_error(
                "a series is not there, or not as it was proposed", name, row,
                "none" if found is None else f"{found.images} images", f"{row.images} images",
            )  # fmt: skip
        if found.modality.lower() != row.role:
            raise _mapping_error("a series of the other modality", name, row, found.modality, row.role)
        for side in sides_of(row.side):
            if (row.participant, side, row.role) in seen:
                raise _mapping_error("two series for one knee", name, row, f"{side} {row.role} twice", "one")
            seen.add((row.participant, side, row.role))
        names[found.patient].add(row.participant)
        several = found.patient and len(names[found.patient]) > 1
        if several and _is_one_person(found.patient, series.values()):
            raise _mapping_error("one patient as two participants", name, row, "two", "one: else folds leak")
    if not used:
        raise CohortError("mapping-invalid", "every series is skipped", where=name, todo="Give some a role.")


def _is_one_person(patient: str, series: Iterable[FoundSeries]) -> bool:
    people = [one.people for one in series if one.patient == patient]
    return len(frozenset[str]().union(*people)) == 1


def _mapping_error(what: str, name: str, row: MappingRow, got: str, expected: str) -> CohortError:
    return CohortError(
        "mapping-invalid", what, where=f"{name}, participant {row.participant}", got=got, expected=expected,
        todo="Correct its rows, or remove the mapping for a new one.",
    )  # fmt: skip


def _place(row: MappingRow, found: FoundSeries, root: Path, *, copy: bool) -> None:
    """Link or copy the files of a series under names of their own: a name may be a patient's."""
    for side in sides_of(row.side):
        stem = f"sub-{row.participant}_side-{side}_{row.role}"
        folder = root / f"sub-{row.participant}" / row.role / stem
        folder.mkdir(parents=True)
        for number, file in enumerate(found.files, start=1):
            _bring(file.resolve(), folder / f"{number:05d}.dcm", copy=copy)


def _bring(source: Path, target: Path, *, copy: bool) -> None:
    if copy:
        shutil.copyfile(source, target)
        return
    try:
        os.link(source, target)
    except OSError as error:
        raise StoreError(
            "link-impossible", "a file cannot be linked into the cohort", got=os.strerror(error.errno or 0),
            expected="studies and cohort on one file system that has links", todo="Copy the files: --copy.",
        ) from error  # fmt: skip


def _write_tables(root: Path, used: Sequence[MappingRow], told: Mapping[str, PatientRow]) -> int:
    """Write both tables; return how many participants have two knees and a grade that names none of them."""
    knees: dict[str, list[str]] = defaultdict(list)
    for scan in used:
        mine = knees[scan.participant]
        mine += [side for side in sides_of(scan.side) if side not in mine]
    people = [f"{name}\t{told[name].age}\t{told[name].sex}" for name in sorted(knees)]
    rows, unsided = [], 0
    for name, sides in sorted(knees.items()):
        row, one = told[name], len(sides) == 1
        grades = {side: _grades(row, side, only=one) for side in sorted(sides)}
        rows += [f"{name}\t{side}\t{kl}\t{oa}" for side, (kl, oa) in grades.items()]
        unsided += not one and ("" in row.kl or "" in row.oa)
    _write(root / "participants.tsv", ["participant_id\tage\tsex", *people])
    _write(root / "knees.tsv", ["participant_id\tside\tkl_grade\toa", *rows])
    return unsided


def _grades(row: PatientRow, side: str, *, only: bool) -> tuple[str, str]:
    """Return grade and OA of a knee; those without a side are the knee's where it is the only one."""
    kl, oa = (of.get(side) or (of.get("") if only else None) or BLANK for of in (row.kl, row.oa))
    return kl, oa


def _write(path: Path, lines: Sequence[str]) -> None:
    clean = [line.replace("\r", " ").replace("\n", " ") for line in lines]
    path.write_text("\n".join(clean) + "\n", encoding="utf-8")
