"""The series of a folder of DICOM studies, of any depth and of several patients, from headers alone."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from srrd_ray.core.records import Side
from srrd_ray.imaging.dicom.files import UNREADABLE
from srrd_ray.imaging.dicom.library_warnings import unvalidated
from srrd_ray.imaging.dicom.tags import as_list, finite_number, named_sides, numbers, value_of
from srrd_ray.imaging.places import list_files

SideSource: TypeAlias = Literal["header", "description", "guess", ""]
"""What names a side: a coded tag, a word, an abbreviation or a wide image, nothing."""
WIDE_MM = 300.0
"""A field of view that holds both legs."""
SIDE_TAGS = ("Laterality", "ImageLaterality", "FrameLaterality")
TEXTS = ("SeriesDescription", "StudyDescription", "ProtocolName")
_WANTED = (
    *TEXTS, "SpecificCharacterSet", "PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID",
    "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "BodyPartExamined",
    *SIDE_TAGS, "SliceThickness", "NumberOfFrames", "Columns", "PixelSpacing",
)  # fmt: skip
_SCOUT = re.compile(r"LOCALI[SZ]ER|SCOUT|TOPOGRAM|SURVEY|SMART ?PREP|MONITOR")
_BOTH = {"BOTH", "BILATERAL", "BILAT", "BEIDE", "BEIDSEITS", "BDS", "BILATERALE"}
_LETTERS: dict[str, Side] = {
    **dict.fromkeys(("L", "LT", "LI", "LINKS", "GAUCHE", "SINISTRA"), "L"),
    **dict.fromkeys(("R", "RT", "RE", "RECHTS", "DROIT", "DESTRA"), "R"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundSeries:
    """One series of one patient.

    Parameters
    ----------
    patient
        PatientID, as the header has it; it is a patient's, and never becomes a path.
    people
        Hashes of the names and dates of birth that go with it: two are two people.
    images
        Slices: frames where a file holds several.
    sides
        That the header names; `side_source` says how.
    """

    uid: str
    patient: str
    people: frozenset[str]
    modality: str
    description: str
    body_part: str
    localizer: bool
    original: bool
    thickness_mm: float
    number: int
    images: int
    sides: frozenset[Side]
    side_source: SideSource
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Studies:
    """All series of a folder; `other` files are no DICOM, `damaged` ones cannot be read or have no series."""

    series: tuple[FoundSeries, ...]
    other: int
    damaged: int


def find_series(folder: Path) -> Studies:
    """Return every series below `folder`, by patient and number; no pixel is read.

    Raises
    ------
    InputError
        `link-broken`, `path-unreadable`: what cannot be opened is not taken as absent.
    """
    groups: dict[tuple[str, str], list[tuple[Path, FileDataset]]] = defaultdict(list)
    counts: Counter[str] = Counter()
    with unvalidated():
        for path in list_files(folder):
            header = _read(path)
            if isinstance(header, str):
                counts[header] += 1
                continue
            key = (_text(header, "PatientID"), _text(header, "SeriesInstanceUID"))
            if key[1]:
                groups[key].append((path, header))
            elif "DirectoryRecordSequence" not in header:
                counts["damaged"] += 1
        found = [_series(patient, uid, files) for (patient, uid), files in groups.items()]
    found.sort(key=lambda one: (one.patient, one.number, one.uid))
    return Studies(series=tuple(found), other=counts["other"], damaged=counts["damaged"])


def _read(path: Path) -> FileDataset | Literal["other", "damaged"]:
    named = path.suffix.lower() in {".dcm", ".ima"}
    if path.stat().st_size == 0:
        return "damaged" if named else "other"
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_WANTED))
    except (InvalidDicomError, *UNREADABLE):
        return "damaged" if named else "other"


def _series(patient: str, uid: str, files: list[tuple[Path, FileDataset]]) -> FoundSeries:
    headers = [header for _, header in files]
    first = headers[0]
    kinds = [{str(kind).upper() for kind in as_list(value_of(h, "ImageType"))} for h in headers]
    sides, source = _sides(headers)
    return FoundSeries(
        uid=uid,
        patient=patient,
        people=frozenset(_person(header) for header in headers),
        modality=_text(first, "Modality").upper(),
        description=_text(first, "SeriesDescription") or _text(first, "ProtocolName"),
        body_part=_text(first, "BodyPartExamined").upper(),
        localizer=all("LOCALIZER" in kind for kind in kinds) or bool(_SCOUT.search(_words(first))),
        original="ORIGINAL" in kinds[0],
        thickness_mm=finite_number(value_of(first, "SliceThickness")) or float("inf"),
        number=int(finite_number(value_of(first, "SeriesNumber")) or 0),
        images=sum(int(finite_number(value_of(h, "NumberOfFrames")) or 1) for h in headers),
        sides=sides,
        side_source=source,
        files=tuple(path for path, _ in files),
    )


def _sides(headers: list[FileDataset]) -> tuple[frozenset[Side], SideSource]:
    coded = {_text(header, tag).upper()[:1] for header in headers for tag in SIDE_TAGS}
    if coded & {"L", "R", "B"}:
        return _as_sides({"L", "R"} if "B" in coded else coded), "header"
    first = headers[0]
    words = set(re.findall(r"[A-Z]+", _words(first)))
    if words & _BOTH or {"LEFT", "RIGHT"} <= words:
        return _as_sides({"L", "R"}), "description"
    named = named_sides(lambda tag: value_of(first, tag), first)
    if named:
        return _as_sides(named), "description"
    letters = {_LETTERS[word] for word in words & _LETTERS.keys()}
    if letters:
        return frozenset(letters), "guess"
    spacing = numbers(value_of(first, "PixelSpacing"), 2)
    wide = spacing is not None and spacing[1] * (finite_number(value_of(first, "Columns")) or 0) >= WIDE_MM
    return (_as_sides({"L", "R"}), "guess") if wide else (frozenset(), "")


def _as_sides(letters: set[str] | frozenset[str]) -> frozenset[Side]:
    sides: tuple[Side, ...] = ("L", "R")
    return frozenset(side for side in sides if side in letters)


def _person(header: FileDataset) -> str:
    """Return a hash of name and date of birth, the name without case and marks, in which scanners differ."""
    name = "".join(sorted(re.findall(r"\w+", _text(header, "PatientName").casefold())))
    return hashlib.sha256(f"{name}|{_text(header, 'PatientBirthDate')}".encode()).hexdigest()


def _words(header: FileDataset) -> str:
    return " ".join(_text(header, tag) for tag in TEXTS).upper()


def _text(header: FileDataset, tag: str) -> str:
    value = value_of(header, tag)
    return "" if value is None else str(value).strip()
