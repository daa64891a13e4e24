"""The images in a folder: files by their name, OME-Zarr, and folders of DICOM or TIFF slices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from srrd_ray.imaging.foreign_zarr import is_group
from srrd_ray.imaging.tiff import is_stack
from srrd_ray.imaging.tiff_slices import TIFFS
from srrd_ray.storage.paths import ObjectPath

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", *TIFFS)
SLICES = (".dcm", ".ima")


def find_images(folder: Path) -> tuple[str, ...]:
    """Return the images of a folder and its subfolders, as relative paths, sorted.

    What cannot be looked into (a link that leads nowhere, a folder that may not be read) is among them:
    whoever reads it says what is wrong. A link back to a folder that was looked into adds nothing.
    """
    return tuple(sorted(path.relative_to(folder).as_posix() for path in _iterate_images(folder, set())))


def is_one_image(path: Path) -> bool:
    """Return whether a path is one image: a file, an OME-Zarr, or a folder of DICOM or TIFF slices."""
    try:
        named = not path.is_dir() or path.name.lower().endswith(".zarr")
        return named or is_group(path) or has_dicom(path) or is_stack(path)
    except PermissionError:
        return True


def _iterate_images(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = str(folder) if isinstance(folder, ObjectPath) else os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from [path] if is_one_image(path) else _iterate_images(path, seen)
        elif path.name.lower().endswith(VOLUMES):
            yield path


def has_dicom(folder: Path) -> bool:
    """Return whether there are DICOM slices in a folder."""
    names = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    return any(p.name.lower().endswith(SLICES) or _is_dicom(p) for p in names if not p.is_dir())


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(VOLUMES) or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
