"""One volume as a classic DICOM series: a file a slice, every attribute that
the modules of CT and MR images demand.

Written are CT Image Storage and MR Image Storage (DICOM PS3.3 A.3 and A.4).
UIDs are derived from names and content, so that the same volume gives the same files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Modality, Side
from srrd_ray.imaging.dicom.files import CT, MR
from srrd_ray.storage.atomic import replacing

MAKER = "SRRD-RAY"
Tag: TypeAlias = str | int | float | tuple[str, ...]
PATIENT_AND_STUDY = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
    "AccessionNumber",
    "PositionReferenceIndicator",
)  # fmt: skip
"""Attributes that must be there and may be empty: no image of this package has anything to say in them."""
MAY_BE_EMPTY: dict[Modality, tuple[str, ...]] = {
    "ct": ("KVP", "AcquisitionNumber"),
    "mr": ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"),
}
"""What the image module of a modality demands, empty where `SeriesHeader.technique` does not name it."""
UNKNOWN_SEQUENCE = {"ScanningSequence": "RM", "SequenceVariant": "NONE"}
"""Research mode: MR images whose sequence is not known, as the image module leaves no room for nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesHeader:
    """The header of a series.

    Parameters
    ----------
    patient
        Name and id of the patient: a code, never a person's name.
    study, series
        Words from which the UIDs of study and series derive; frames of reference are those of `frame`.
    technique
        DICOM keyword to value: how the image was acquired.
    """

    modality: Modality
    patient: str
    side: Side
    image_type: tuple[str, ...]
    description: str
    study: tuple[str, ...]
    frame: tuple[str, ...]
    series: tuple[str, ...]
    technique: Mapping[str, Tag] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredPixels:
    """Whole numbers (slice, row, column) of 16 bits, how many of them count,
    and the way back to the volume's values.
    """

    values: NDArray[np.int16] | NDArray[np.uint16]
    bits: int = 16
    slope: float = 1.0
    intercept: float = 0.0


def write_series(folder: Path, header: SeriesHeader, pixels: StoredPixels, geometry: Geometry) -> Path:
    """Return `folder`, which then holds one file a slice; it is whole or absent."""
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        for k in range(geometry.shape[0]):
            dataset = _new_dataset(header, k)
            _set_attributes(dataset, header)
            _set_position(dataset, geometry, k, header.technique)
            _set_pixels(
                dataset,
                pixels,
                k,
                rescaled=header.modality == "ct" or (pixels.slope, pixels.intercept) != (1, 0),
            )
            dataset.save_as(temporary / f"IM{k + 1:05d}.dcm", enforce_file_format=True)
    return folder


def make_uid(*parts: str) -> UID:
    """Return the UID derived from `parts`, always the same."""
    return generate_uid(entropy_srcs=list(parts))


def to_decimal_string(value: float) -> str:
    """Return a number as a decimal string: at most 16 characters, as many digits as they hold."""
    return str(format_number_as_ds(float(value) + 0.0))


def _new_dataset(header: SeriesHeader, k: int) -> FileDataset:
    """Return a file of slice `k` with its identity alone."""
    kind, instance = CT if header.modality == "ct" else MR, make_uid(*header.series, f"instance {k}")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, instance
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, instance
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        make_uid(*header.study),
        make_uid(*header.series, "series"),
    )
    dataset.FrameOfReferenceUID = make_uid(*header.frame, "frame of reference")
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = header.modality.upper(), 1, k + 1
    return dataset


def _set_attributes(dataset: FileDataset, header: SeriesHeader) -> None:
    """Fill in patient, equipment and technique."""
    for keyword in (*PATIENT_AND_STUDY, *MAY_BE_EMPTY[header.modality]):
        setattr(dataset, keyword, None)
    dataset.PatientName = dataset.PatientID = header.patient
    dataset.Manufacturer, dataset.PatientPosition = MAKER, "FFS"
    dataset.BodyPartExamined, dataset.ImageLaterality = "KNEE", header.side
    dataset.ImageType, dataset.SeriesDescription = list(header.image_type), header.description
    dataset.BurnedInAnnotation = "NO"
    technique = (UNKNOWN_SEQUENCE if header.modality == "mr" else {}) | dict(header.technique)
    for keyword, value in technique.items():
        setattr(dataset, keyword, _value(value))


def _value(value: Tag) -> str | int | list[str]:
    match value:
        case float():
            return to_decimal_string(value)
        case tuple():
            return list(value)
        case _:
            return value


def _set_position(dataset: FileDataset, geometry: Geometry, k: int, technique: Mapping[str, Tag]) -> None:
    affine, (dz, dy, dx) = geometry.affine, geometry.spacing_mm
    dataset.ImagePositionPatient = [to_decimal_string(v) for v in geometry.index_to_lps((k, 0, 0))]
    dataset.ImageOrientationPatient = [
        to_decimal_string(v) for v in (*(affine[:3, 0] / dx), *(affine[:3, 1] / dy))
    ]
    dataset.PixelSpacing = [to_decimal_string(dy), to_decimal_string(dx)]
    if "SliceThickness" not in technique:
        dataset.SliceThickness = to_decimal_string(dz)
    dataset.Rows, dataset.Columns = geometry.shape[1:]


def _set_pixels(dataset: FileDataset, pixels: StoredPixels, k: int, *, rescaled: bool) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, pixels.bits, pixels.bits - 1
    dataset.PixelRepresentation = int(pixels.values.dtype.kind == "i")
    if rescaled:
        dataset.RescaleIntercept, dataset.RescaleSlope = (
            to_decimal_string(pixels.intercept),
            to_decimal_string(pixels.slope),
        )
        dataset.RescaleType = "HU" if dataset.Modality == "CT" else "US"
    dataset.PixelData = pixels.values[k].astype(pixels.values.dtype.newbyteorder("<"), copy=False).tobytes()
