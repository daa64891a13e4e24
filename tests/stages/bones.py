"""Small bone volumes in every format that `srrd measure` reads."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import SimpleITK as sitk
import zarr
from numpy.typing import NDArray

from tests.morphometry import shapes

Steps = tuple[float, float, float]


def grey_bone(
    shape: tuple[int, int, int] = (40, 44, 48), *, noise: float = 4.0, seed: int = 5
) -> NDArray[np.int16]:
    """Return bone at 200 in marrow at 60, with noise; no zeros."""
    bone = shapes.gaussian_field(shape, sigma=2.5, bvtv=0.3, seed=seed)
    values = 60 + 140 * bone + np.random.default_rng(seed).normal(0, noise, shape)
    return np.rint(values).astype(np.int16)


def write_nifti(path: Path, array: NDArray[np.generic], steps: Steps = (0.05, 0.05, 0.05)) -> Path:
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), np.diag([*steps[::-1], 1.0])), path)
    return path


def write_nrrd(path: Path, array: NDArray[np.generic], steps: Steps = (0.05, 0.05, 0.05)) -> Path:
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag(steps[::-1]),
        "space origin": np.zeros(3),
    }
    nrrd.write(str(path), array.transpose(2, 1, 0), header)
    return path


def write_mha(path: Path, array: NDArray[np.generic], steps: Steps = (0.05, 0.05, 0.05)) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(steps[::-1])
    sitk.WriteImage(image, str(path))
    return path


def write_zarr(path: Path, array: NDArray[np.generic], steps: Steps = (0.05, 0.05, 0.05)) -> Path:
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": list(steps)}]}
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    group = zarr.create_group(path, zarr_format=3, attributes={"ome": ome})
    group.create_array("0", data=array, chunks=(32, 32, 32))
    return path
