"""Which series is whose knee: proposed from headers and the spreadsheet, each row with its reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from srrd_ray.cohort.mapping import MappingRow, Role, SideOfScan
from srrd_ray.cohort.patient_table import PatientRow
from srrd_ray.cohort.pseudonyms import pseudonym
from srrd_ray.core.errors import CohortError
from srrd_ray.core.records import Side
from srrd_ray.imaging.dicom.header_checks import KNEE_PARTS
from srrd_ray.imaging.dicom.studies import FoundSeries

Value = TypeVar("Value", bound=str)
MIN_IMAGES: Final = 8
ROLES: Final[Mapping[str, Role]] = {"CT": "ct", "MR": "mr"}


def match_patients(patients: Sequence[str], table: Mapping[str, PatientRow]) -> dict[str, str]:
    """Return the id in the table of each patient that has a row: the same, or else but for zeros before it.

    Raises
    ------
    CohortError
        `table-no-match` where no patient of the scans has a row.
    """
    bare: dict[str, list[str]] = defaultdict(list)
    for name in table:
        bare[_bare(name)].append(name)
    found = {
        patient: patient if patient in table else bare[_bare(patient)][0]
        for patient in patients
        if patient in table or len(bare.get(_bare(patient), ())) == 1
    }
    if patients and table and not found:
        raise CohortError(
            "table-no-match", "no patient of the scans has a row in the table",
            got=f"{len(patients)} patients in DICOM, {len(table)} in the table",
            expected="PatientID of the headers in the column of the patient",
            todo="Is it the right column? Name another: --column patient=NAME.",
        )  # fmt: skip
    return found


def propose(
    series: Sequence[FoundSeries], table: Mapping[str, PatientRow], key: bytes | None
) -> tuple[MappingRow, ...]:
    """Return a row a series, in their order; `key` makes pseudonyms, without it participants are numbered.

    Raises
    ------
    CohortError
        `table-no-match`.
    """
    patients = sorted({one.patient for one in series if one.patient})
    rows_of = match_patients(patients, table)
    width = max(3, len(str(len(patients))))
    names = {
        patient: pseudonym(patient, key) if key is not None else f"{number:0{width}d}"
        for number, patient in enumerate(patients, start=1)
    }
    known = _Known(uids=Counter(one.uid for one in series), people=_gathered(series, lambda one: one.people))
    unusable = {id(one): _unusable(one, known) for one in series}
    usable = [one for one in series if not unusable[id(one)]]
    others = _gathered(usable, lambda one: one.sides)
    found = {id(one): _side(one, others, table.get(rows_of.get(one.patient, ""))) for one in series}
    won = _won(usable, {key: side for key, (side, _) in found.items()})
    return tuple(
        _row(one, names.get(one.patient, ""), unusable[id(one)], found[id(one)], won.get(id(one), ()))
        for one in series
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """How many series have a UID, and the people of a PatientID."""

    uids: Mapping[str, int]
    people: Mapping[str, frozenset[str]]


def _gathered(
    series: Sequence[FoundSeries], of: Callable[[FoundSeries], frozenset[Value]]
) -> dict[str, frozenset[Value]]:
    """Return what the series of each patient have, together."""
    found: dict[str, set[Value]] = defaultdict(set)
    for one in series:
        found[one.patient] |= of(one)
    return {patient: frozenset(values) for patient, values in found.items()}


def _bare(patient: str) -> str:
    return patient.strip().lstrip("0").casefold()


def _unusable(one: FoundSeries, known: _Known) -> str:
    """Return why a series is none of a knee; empty where nothing speaks against it."""
    if one.modality not in ROLES:
        return f"modality {one.modality[:4] or 'unknown'}"
    if not one.patient:
        return "no PatientID: write the participant, and the role"
    people = len(known.people[one.patient])
    if people > 1:
        return f"its PatientID goes with {people} names or dates of birth: two people? name each"
    if known.uids[one.uid] > 1:
        return "the same series under two PatientIDs"
    if one.localizer:
        return "localizer"
    if one.body_part not in KNEE_PARTS:
        return "BodyPartExamined names no knee"
    if one.images < MIN_IMAGES:
        return f"fewer than {MIN_IMAGES} images: a localizer, or half copied"
    return ""


def _side(
    one: FoundSeries, others: Mapping[str, frozenset[Side]], row: PatientRow | None
) -> tuple[SideOfScan, str]:
    if one.sides:
        return _as_side(one.sides), one.side_source
    if row is not None and len(row.sides) == 1:
        return _as_side(row.sides), "table"
    of_patient = others.get(one.patient, frozenset())
    return (_as_side(of_patient), "other scan") if len(of_patient) == 1 else ("", "")


def _as_side(sides: frozenset[Side]) -> SideOfScan:
    return "both" if len(sides) == 2 else next(iter(sides))


def sides_of(side: SideOfScan) -> tuple[Side, ...]:
    """Return the knees that a scan shows."""
    match side:
        case "both":
            return ("L", "R")
        case "L" | "R":
            return (side,)
        case "":
            return ()


def _won(usable: Sequence[FoundSeries], sides: Mapping[int, SideOfScan]) -> dict[int, tuple[Side, ...]]:
    """Return the knees of which each series is the best of its modality: original, thinnest, most images."""
    best: dict[tuple[str, Side, str], FoundSeries] = {}
    for one in sorted(usable, key=_rank):
        for side in sides_of(sides[id(one)]):
            best.setdefault((one.patient, side, one.modality), one)
    won: dict[int, tuple[Side, ...]] = {}
    for (_, side, _), one in sorted(best.items(), key=lambda item: item[0]):
        won[id(one)] = (*won.get(id(one), ()), side)
    return won


def _rank(one: FoundSeries) -> tuple[object, ...]:
    return (not one.original, one.thickness_mm, -one.images, one.number, one.uid)


def _row(
    one: FoundSeries, name: str, unusable: str, found: tuple[SideOfScan, str], won: tuple[Side, ...]
) -> MappingRow:
    side, by = found
    row = MappingRow(
        role="skip",
        participant=name,
        side=side,
        side_by=by,
        modality=one.modality,
        images=one.images,
        description=one.description,
        reason=unusable,
        patient=one.patient,
        series=one.uid,
    )
    if unusable:
        return row
    if not side:
        return replace(row, reason="the side is not known: write L, R or both, and the role")
    if not won:
        return replace(row, reason="another series of this knee is original, thinner or has more images")
    kept: SideOfScan = "both" if len(won) == 2 else won[0]
    return replace(row, role=ROLES[one.modality], side=kept, reason="; ".join(_doubts(side, by, kept)))


def _doubts(side: SideOfScan, by: str, kept: SideOfScan) -> Iterator[str]:
    if side == "both":
        yield (
            "both knees in one scan: it is cut between them"
            if kept == "both"
            else f"both knees in one scan: for {kept} alone"
        )
    if by in ("guess", "other scan"):
        yield "look at the side"
