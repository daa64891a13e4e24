"""Volumes of a run as DICOM series, for viewers that read nothing else: new UIDs, the pseudonym, geometry, and no more.

UIDs are derived from the content and the key of the knee, so that the same volume gives the same files; none of a source is
repeated. A synthetic CT says so in its image type and description.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from srrd_ray.errors import InputError
from srrd_ray.io import omezarr
from srrd_ray.io.atomic import replacing
from srrd_ray.io.dicom_files import CT, MR
from srrd_ray.records import StoredVolume
from srrd_ray.volume import Volume

UNKNOWN = ""


def export_series(stored: StoredVolume, folder: Path) -> Path:
    """Return `folder`, which then holds one classic DICOM file a slice of a stored volume.

    Raises
    ------
    InputError
        `export-labels` for label volumes, `export-range` where values do not fit 16 bits.
    StoreError
        Where the stored volume is torn.
    """
    if stored.unit == "label":
        raise InputError(
            "export-labels", "label volumes are no DICOM images", where=stored.knee.key, todo="Export as NIfTI."
        )
    volume = omezarr.read_volume(stored.path)
    slope, intercept, pixels = _quantised(stored, volume)
    with replacing(folder) as beside:
        beside.mkdir(parents=True)
        for k in range(volume.geometry.shape[0]):
            dataset = _slice(stored, volume, k)
            dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.9g}", f"{intercept:.9g}"
            dataset.PixelData = pixels[k].astype("<i2").tobytes()
            dataset.save_as(beside / f"IM{k + 1:05d}.dcm", enforce_file_format=True)
    return folder


def _quantised(stored: StoredVolume, volume: Volume[np.generic]) -> tuple[float, float, NDArray[np.int16]]:
    """Return slope, intercept and the 16-bit values; HU keep slope 1, other floats take the whole range."""
    values = volume.array.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("export-range", "values are not finite", where=stored.knee.key)
    if stored.unit == "HU" or volume.array.dtype.kind in "iu":
        if low < -(2**15) or high > 2**15 - 1:
            raise InputError(
                "export-range", "values do not fit 16 bits", where=stored.knee.key, got=f"{low:g} to {high:g}"
            )
        return 1.0, 0.0, np.rint(values).astype(np.int16)
    slope = (high - low) / (2**16 - 2) or 1.0
    intercept = (high + low) / 2
    return slope, intercept, np.rint((values - intercept) / slope).astype(np.int16)


def _slice(stored: StoredVolume, volume: Volume[np.generic], k: int) -> FileDataset:
    kind = CT if stored.unit == "HU" else MR
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = _uid(stored, f"instance {k}")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CT" if stored.unit == "HU" else "MR"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(stored, "study"), _uid(stored, "series")
    dataset.FrameOfReferenceUID = _uid(stored, "frame of reference")
    dataset.PatientID = dataset.PatientName = stored.knee.key
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = UNKNOWN
    dataset.PatientIdentityRemoved = "YES"
    dataset.ImageType = ["DERIVED", "SECONDARY", "SYNTHETIC" if stored.synthetic_from else "OTHER"]
    dataset.SeriesDescription = f"srrd {stored.image}" + (" SYNTHETIC" if stored.synthetic_from else "")
    dataset.InstanceNumber = k + 1
    dataset.BodyPartExamined, dataset.ImageLaterality = "KNEE", stored.knee.side
    _place(dataset, volume, k)
    return dataset


def _place(dataset: FileDataset, volume: Volume[np.generic], k: int) -> None:
    affine, (dz, dy, dx) = volume.geometry.affine, volume.geometry.spacing_mm
    dataset.ImagePositionPatient = [_decimal(v) for v in volume.geometry.index_to_lps((k, 0, 0))]
    dataset.ImageOrientationPatient = [_decimal(v) for v in (*(affine[:3, 0] / dx), *(affine[:3, 1] / dy))]
    dataset.PixelSpacing, dataset.SliceThickness = [_decimal(dy), _decimal(dx)], _decimal(dz)
    dataset.Rows, dataset.Columns = volume.geometry.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1


def _decimal(value: float) -> str:
    """Return at most 16 characters, what a decimal string of DICOM may hold."""
    return f"{float(value):.9g}"[:16]


def _uid(stored: StoredVolume, what: str) -> UID:
    scope = [stored.knee.key] if what in ("study",) else [stored.knee.key, stored.image, stored.sha256]
    return generate_uid(entropy_srcs=[*scope, what])
