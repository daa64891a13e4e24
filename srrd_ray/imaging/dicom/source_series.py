"""The headers of a CT series that results refer to: patient, study, frame of reference, and every slice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from highdicom.enum import SpecificCharacterSetValues
from pydicom.config import RAISE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.imaging.dicom.library_warnings import quiet
from srrd_ray.imaging.dicom.series import read_stack, without_pixels
from srrd_ray.imaging.dicom.writer import to_decimal_string
from srrd_ray.imaging.source import DEFAULT_RULES

OF_THE_SERIES = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
REFERRED_TO = (*OF_THE_SERIES, "SOPInstanceUID")
"""What a result refers to: without one of them it belongs to no study."""
MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
"""Attributes that every image has to have, and that a header without patient leaves out."""
OF_A_SLICE = (
    *REFERRED_TO, "SOPClassUID", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "ImageType",
)  # fmt: skip
NUMBERS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
TEXTS = ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
NO_UIDS = "dicom-no-uid"
CHARACTER_SETS = frozenset(one.value for one in SpecificCharacterSetValues)
UTF8 = "ISO_IR 192"
SEXES = ("M", "F", "O")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceSeries:
    """The CT that was read.

    Parameters
    ----------
    images
        Headers of its files: one a slice in the order of `geometry`, or one file with all frames. Patient and
        study are those of the first.
    geometry
        The grid of the whole series.
    as_stored
        Whether slice k of `geometry` is the one frame of file k of `images`.
    """

    images: tuple[Dataset, ...]
    geometry: Geometry
    as_stored: bool

    @property
    def instances(self) -> str:
        """The UIDs of its files, in order."""
        return " ".join(str(image.SOPInstanceUID) for image in self.images)

    def expand(self, volume: Volume[Scalar], fill: float) -> Volume[Scalar]:
        """Return a volume on the whole grid of the series, `fill` around the knee that it was cropped to."""
        if volume.geometry.matches(self.geometry):
            return volume
        start = np.rint(self.geometry.lps_to_index(volume.geometry.index_to_lps((0, 0, 0)))).astype(int)
        window = tuple(slice(a, a + n) for a, n in zip(start, volume.geometry.shape, strict=True))
        whole = np.full(self.geometry.shape, fill, dtype=volume.array.dtype)
        whole[window] = volume.array
        return Volume(array=whole, geometry=self.geometry)


def read_source_series(folder: Path) -> SourceSeries:
    """Return the series that a DICOM folder is read as, from its headers alone.

    Values that are none of their kind are left empty: another program would refuse the results for them.

    Raises
    ------
    InputError
        `dicom-no-uid` where the series has not all UIDs that results refer to; as the series is read.
    """
    stack = without_pixels(read_stack(folder, "ct", None, DEFAULT_RULES))
    files = list(dict.fromkeys(item.path for item in stack.slices))
    with quiet():
        first = _clean(pydicom.dcmread(files[0], stop_before_pixels=True, force=True))
        images = (first, *(_read_slice(path, first) for path in files[1:]))
    for image in images:
        if not image.get("SliceThickness"):
            image.SliceThickness = to_decimal_string(stack.geometry.spacing_mm[0])
    _require_uids(folder, images)
    as_stored = not stack.tilted and all(item.frame is None for item in stack.slices)
    return SourceSeries(images=images, geometry=stack.geometry, as_stored=as_stored)


def _read_slice(path: Path, first: Dataset) -> Dataset:
    """Return what a slice says of itself, and all else as the first one says it."""
    own = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(OF_A_SLICE), force=True)
    own.pop("SpecificCharacterSet", None)
    header = Dataset()
    header.update(first)
    header.update(_shorten(own))
    return header


def _clean(header: Dataset) -> Dataset:
    """Return a header without private parts and values of the wrong kind, with all that has to be there."""
    header.remove_private_tags()
    _rewrite_text(header)
    for element in list(header):
        if element.VR in TEXTS and not _is_valid(element):
            header[element.tag].value = None
    for keyword in MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    if header.PatientSex not in SEXES:
        header.PatientSex = None
    return _shorten(header)


def _rewrite_text(header: Dataset) -> None:
    """Write the text of a header as UTF-8 where it names a character set that others would refuse."""
    if "SpecificCharacterSet" not in header:
        return
    element = header["SpecificCharacterSet"]
    if CHARACTER_SETS.issuperset(element.value if element.VM > 1 else [element.value]):
        return
    header.decode()
    header.SpecificCharacterSet = UTF8


def _is_valid(element: DataElement) -> bool:
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            validate_value(element.VR, str(value or ""), RAISE)
    except ValueError:
        return False
    return True


def _shorten(header: Dataset) -> Dataset:
    """Return a header whose numbers of place have at most 16 characters, as the standard wants."""
    for keyword in NUMBERS:
        if header.get(keyword) is not None:
            header[keyword].value = [to_decimal_string(float(value)) for value in header[keyword].value]
    return header


def _require_uids(folder: Path, images: tuple[Dataset, ...]) -> None:
    """Refuse a series without the UIDs of one study, or whose files are not told apart by theirs."""
    found = {keyword: {str(image.get(keyword) or "") for image in images} for keyword in REFERRED_TO}
    faults = [f"no {keyword}" for keyword, values in found.items() if "" in values]
    faults += [f"several {keyword}" for keyword in OF_THE_SERIES if len(found[keyword]) > 1]
    if len(found["SOPInstanceUID"]) < len(images):
        faults.append("one SOPInstanceUID for several files")
    if faults:
        raise InputError(
            NO_UIDS, "the series has not the UIDs that results in DICOM refer to", where=folder.name,
            got=", ".join(faults), todo="Export the series again from its source.",
        )  # fmt: skip
