"""Volumes of a run as DICOM series, for viewers that read nothing else:
new UIDs, the pseudonym, geometry, and no more.

UIDs are derived from the content and the key of the knee, so that the same volume gives the same files;
none of a source is repeated. A synthetic CT is labelled in its image type and description.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import StoredVolume
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom.writer import SeriesHeader, StoredPixels, Tag, write_series
from srrd_ray.storage import omezarr

DEIDENTIFIED: dict[str, Tag] = {
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "Written anew from voxels",
}


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
            "export-labels",
            "label volumes are no DICOM images",
            where=stored.knee.key,
            todo="Export as NIfTI.",
        )
    volume = omezarr.read_volume(stored.path)
    return write_series(folder, _header(stored), _quantise(stored, volume), volume.geometry)


def _header(stored: StoredVolume) -> SeriesHeader:
    key, synthetic, is_ct = stored.knee.key, stored.synthetic_from is not None, stored.unit == "HU"
    image_type = ("DERIVED", "SECONDARY", "AXIAL" if is_ct else "OTHER")
    return SeriesHeader(
        modality="ct" if is_ct else "mr",
        patient=key,
        side=stored.knee.side,
        image_type=(*image_type, "SYNTHETIC") if synthetic else image_type,
        description=f"srrd {stored.image}" + (" SYNTHETIC" if synthetic else ""),
        study=(key, "study"),
        frame=(key, stored.image, stored.sha256),
        series=(key, stored.image, stored.sha256),
        technique=DEIDENTIFIED,
    )


def _quantise(stored: StoredVolume, volume: Volume[np.generic]) -> StoredPixels:
    """Return slope, intercept and the 16-bit values; HU keep slope 1, other floats take the whole range."""
    values = volume.array.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("export-range", "values are not finite", where=stored.knee.key)
    if stored.unit == "HU" or volume.array.dtype.kind in "iu":
        signed = low < 0 or high < 2**15
        if low < -(2**15) or high > (2**15 - 1 if signed else 2**16 - 1):
            raise InputError(
                "export-range", "values do not fit 16 bits", where=stored.knee.key, got=f"{low:g} to {high:g}"
            )
        whole = np.rint(values)
        return StoredPixels(values=whole.astype(np.int16) if signed else whole.astype(np.uint16))
    slope = (high - low) / (2**16 - 2) or 1.0
    middle = (high + low) / 2
    return StoredPixels(
        values=np.rint((values - middle) / slope).astype(np.int16), slope=slope, intercept=middle
    )
