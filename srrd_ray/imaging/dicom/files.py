"""DICOM files of a folder as single slices: position and meaning of each, and which files are no images.

Nothing of a header leaves this module but geometry, scaling and an allow-list of technique;
UIDs and free text stay in memory to separate the series.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Modality
from srrd_ray.imaging.dicom.library_warnings import unvalidated
from srrd_ray.imaging.dicom.stored import (
    Stored,
    check_inflated,
    describe_pixels,
    padding_range,
    truncated_error,
)
from srrd_ray.imaging.dicom.tags import (
    CODES,
    NUMBERS,
    as_list,
    finite_number,
    named_sides,
    numbers,
    real_world,
    technique_of,
    value_of,
)
from srrd_ray.imaging.places import (
    broken_link_error,
    is_pointer,
    list_files,
    require_there,
    unreadable_error,
)
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import safe_name

CT = UID("1.2.840.10008.5.1.4.1.1.2")
MR = UID("1.2.840.10008.5.1.4.1.1.4")
ENHANCED_CT = UID("1.2.840.10008.5.1.4.1.1.2.1")
ENHANCED_MR = UID("1.2.840.10008.5.1.4.1.1.4.1")
LEGACY_CT = UID("1.2.840.10008.5.1.4.1.1.2.2")
LEGACY_MR = UID("1.2.840.10008.5.1.4.1.1.4.4")
IMAGES: dict[UID, Modality] = {
    CT: "ct", ENHANCED_CT: "ct", LEGACY_CT: "ct", MR: "mr", ENHANCED_MR: "mr", LEGACY_MR: "mr",
}  # fmt: skip
MULTIFRAME = (ENHANCED_CT, ENHANCED_MR, LEGACY_CT, LEGACY_MR)
_WANTED = (
    *NUMBERS, *CODES, "SOPClassUID", "SOPInstanceUID", "PatientID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "DirectoryRecordSequence",
    "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "NumberOfFrames",
    "PhotometricInterpretation", "PixelPaddingValue", "PixelPaddingRangeLimit", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "ModalityLUTSequence", "RealWorldValueMappingSequence", "AcquisitionNumber", "EffectiveEchoTime",
    "StackID", "ImageType",
    "BurnedInAnnotation", "Laterality", "ImageLaterality", "FrameLaterality", "BodyPartExamined",
    "SeriesDescription",
    "StudyDescription", "ProtocolName", "Manufacturer", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip


SUFFIXES = (".dcm", ".ima", ".dicom")
_HEAD = 1024
UNREADABLE = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, NotImplementedError,
    MemoryError, RecursionError, struct.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises of bytes that it cannot understand."""
Known: TypeAlias = dict[tuple[str, str], dict[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One frame of one file. Only `name` may be shown to a user, not the UIDs; `person` is a hash of the
    PatientID, empty where there is none.
    """

    path: Path
    name: str
    frame: int | None
    modality: Modality
    person: str
    series: str
    instance: str
    reference: str
    shape: tuple[int, int] | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    real_world: tuple[float, float] | None
    table: bool
    acquisition: str
    echo: str
    kinds: tuple[str, ...]
    inverted: bool
    padding: tuple[int, int] | None
    burned_in: bool
    sides: frozenset[str]
    body_part: str
    stored: Stored
    technique: dict[str, str] = field(hash=False)

    @property
    def rescaled(self) -> bool:
        """Whether the slice tells its scale."""
        return self.slope not in (None, 0.0) and self.intercept is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The slices of a folder, and how many files were set aside and why."""

    slices: tuple[Slice, ...]
    ignored: dict[str, int] = field(hash=False)
    files: int


def read_folder(folder: Path, root: Path | None = None, *, max_gib: float = 8.0) -> Listing:
    """Return every CT and MR slice below `folder` (or of one file), from headers alone.

    Links are followed where they stay inside `root`, the folder itself where none is given. A deflated file
    is refused where it inflates to more than `max_gib`.

    Raises
    ------
    InputError
        `path-outside` for a link that leads elsewhere, `link-broken` and `path-unreadable` for what cannot be
        opened, `dicom-truncated` for an empty or short file, `dicom-codec` for a compression without decoder.
    """
    require_there(folder)
    files = [folder] if folder.is_file() else list_files(folder)
    _check_links(folder, files, (root or folder).resolve())
    ignored: Counter[str] = Counter()
    slices: list[Slice] = []
    known: Known = {}
    with unvalidated():
        for path in files:
            found, reason = _read(path, safe_name(path, files), known, int(max_gib * 2**30))
            slices += found
            ignored.update([reason] if reason else [])
    return Listing(slices=tuple(slices), ignored=dict(sorted(ignored.items())), files=len(files))


def _read(path: Path, name: str, known: Known, limit: int) -> tuple[list[Slice], str]:
    """Return the slices of one file, or why it is set aside; parser errors are refused without values."""
    try:
        dataset, stored, reason = _open(path, name, limit)
        if dataset is None or stored is None:
            return [], reason
        return list(_slices(path, name, dataset, stored, known)), ""
    except InputError:
        raise
    except UNREADABLE as error:
        raise _header_error(name, explain(error)) from None


def _header_error(name: str, got: str) -> InputError:
    return InputError(
        "dicom-header",
        "a DICOM header cannot be understood",
        where=name,
        got=got,
        todo="Export the series again from its source.",
    )


def _check_links(folder: Path, files: list[Path], root: Path) -> None:
    outside = [path for path in files if path.is_symlink() and not path.resolve().is_relative_to(root)]
    if outside:
        raise InputError(
            "path-outside",
            "a link leads out of the folder of the input",
            where=f"{folder.name}, {safe_name(outside[0], files)}",
            got=f"{len(outside)} of {len(files)} files",
            todo="Copy the series into the cohort.",
        )


def _open(path: Path, name: str, limit: int) -> tuple[FileDataset | None, Stored | None, str]:
    """Return the header of an image file, or why the file is set aside."""
    size = path.stat().st_size
    named = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    if size == 0 and named:
        raise truncated_error(name, "0 bytes", "a DICOM file")
    try:
        with path.open("rb") as file:
            dataset = _parse(file, name, limit)
            if dataset is not None:
                return _image(dataset, name, file, size)
            if named:
                raise _header_error(name, "no DICOM file")
            return None, None, "not DICOM"
    except PermissionError as error:
        raise unreadable_error(name, "1 file") from error
    except (EOFError, OSError) as error:
        raise truncated_error(name, f"{size} bytes", "a whole header") from error


def _parse(file: BinaryIO, name: str, limit: int) -> FileDataset | None:
    """Return the header of a file that is DICOM, also without preamble; it ends where `file` stands."""
    head = file.read(_HEAD)
    if is_pointer(head):
        raise broken_link_error(name, "a pointer of git-lfs or git-annex")
    check_inflated(head, file, name, limit)
    file.seek(0)
    bare = head[128:132] != b"DICM"
    if bare and head[:2] not in {b"\x02\0", b"\x08\0"}:
        return None
    try:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_WANTED, force=bare)
    except (InvalidDicomError, *UNREADABLE) as error:
        if bare:
            return None
        raise truncated_error(name, f"{file.seek(0, 2)} bytes", "a whole header") from error


def _image(
    dataset: FileDataset, name: str, file: BinaryIO, size: int
) -> tuple[FileDataset | None, Stored | None, str]:
    if _kind(dataset) not in IMAGES:
        return None, None, "DICOMDIR" if "DirectoryRecordSequence" in dataset else "not a CT or MR image"
    if dataset.get("SamplesPerPixel", 1) != 1 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return None, None, "colour image"
    start = file.tell()
    return dataset, describe_pixels(dataset, name, file, start, size), ""


def _kind(dataset: FileDataset) -> UID:
    return UID(str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""))


def _slices(path: Path, name: str, dataset: FileDataset, stored: Stored, known: Known) -> Iterator[Slice]:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if _kind(dataset) not in MULTIFRAME:
        if frames != 1:
            raise _header_error(name, f"{frames} frames in an image that holds one, without a place for each")
        yield _slice(_Origin(path=path, name=name, frame=None, stored=stored), (dataset,), dataset, known)
        return
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]))
    places = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(places) != frames:
        raise _header_error(name, f"{frames} frames, places of {len(places)}")
    for frame, of_frame in enumerate(places):
        groups = [item[0] for source in (of_frame, shared) for item in _group_items(source)]
        origin = _Origin(path=path, name=f"{name} frame {frame + 1}", frame=frame, stored=stored)
        yield _slice(origin, (*groups, dataset), dataset, known)


def _group_items(group: Dataset) -> Iterator[Sequence[Dataset]]:
    for element in group:
        if element.VR == "SQ" and element.value and not element.tag.is_private:
            yield element.value


@dataclass(frozen=True, kw_only=True, slots=True)
class _Origin:
    path: Path
    name: str
    frame: int | None
    stored: Stored


def _slice(origin: _Origin, sources: tuple[Dataset, ...], dataset: FileDataset, known: Known) -> Slice:
    """Return one slice; `sources` are looked through in order,
    so that a frame's own values come before shared ones.

    `known` keeps the technique of each series and echo: it is looked up once, not in every slice.
    """

    def get(keyword: str) -> object:
        for source in sources:
            value = value_of(source, keyword)
            if value is not None and value != "":
                return value
        return None

    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    series = str(dataset.get("SeriesInstanceUID", ""))
    echo = str(get("EffectiveEchoTime") or get("EchoTime") or "")
    echo += f"|{get('StackID')}" if origin.frame is not None else ""
    technique = known.get((series, echo)) or technique_of(get, dataset)
    known[(series, echo)] = technique
    return Slice(
        path=origin.path,
        name=origin.name,
        frame=origin.frame,
        modality=IMAGES[_kind(dataset)],
        person=_person(dataset),
        series=series,
        instance=f"{dataset.get('SOPInstanceUID', '')}#{origin.frame}",
        reference=str(dataset.get("FrameOfReferenceUID", "")),
        shape=(int(rows), int(columns)) if rows and columns else None,
        position=numbers(get("ImagePositionPatient"), 3),
        orientation=numbers(get("ImageOrientationPatient"), 6),
        spacing=numbers(get("PixelSpacing"), 2),
        slope=finite_number(get("RescaleSlope")),
        intercept=finite_number(get("RescaleIntercept")),
        rescale_type=re.sub(r"[^A-Z_]", "", str(get("RescaleType") or "").upper())[:16],
        real_world=real_world(get, dataset),
        table="ModalityLUTSequence" in dataset,
        acquisition=str(get("AcquisitionNumber") or ""),
        echo=echo,
        kinds=tuple(str(part).upper() for part in as_list(dataset.get("ImageType"))),
        inverted=dataset.get("PhotometricInterpretation") == "MONOCHROME1",
        padding=padding_range(dataset),
        burned_in=str(dataset.get("BurnedInAnnotation", "")).upper() == "YES",
        sides=named_sides(get, dataset),
        body_part=re.sub(r"[^A-Z]", "", str(get("BodyPartExamined") or "").upper())[:16],
        stored=origin.stored,
        technique=technique,
    )


def _person(dataset: Dataset) -> str:
    number = str(dataset.get("PatientID", "")).strip()
    return hashlib.sha256(number.encode()).hexdigest()[:16] if number else ""
