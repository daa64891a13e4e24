"""NIfTI out: the same bytes for the same volume, geometry exact."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.storage.atomic import replacing

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def nifti_affine(geometry: Geometry) -> NDArray[np.float64]:
    """Return the RAS affine of a grid."""
    return np.asarray(RAS_FROM_LPS @ geometry.affine, np.float64)


def write_nifti(path: Path, volume: Volume[Scalar]) -> None:
    """Write a volume as NIfTI-1: axes (i, j, k) = array (x, y, z), world RAS, mm, qform equal to sform."""
    image = nib.Nifti1Image(volume.array.transpose(2, 1, 0), nifti_affine(volume.geometry))
    image.set_qform(image.affine, code=1)
    image.set_sform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
