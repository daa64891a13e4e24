"""The images in a folder: files by their name, OME-Zarr, and folders of DICOM or TIFF slices."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.one_line import printable
from srrd_ray.imaging.foreign_zarr import is_group
from srrd_ray.imaging.tiff import is_stack
from srrd_ray.imaging.tiff_slices import TIFFS
from srrd_ray.storage.paths import ObjectPath

log = logging.getLogger(__name__)

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", *TIFFS)
SLICES = (".dcm", ".ima")
LEAST_SLICES = 8
"""Slices of a series; fewer beside volumes are strays among them."""
NOT_READ = (
    ".img", ".hdr", ".img.gz", ".mgh", ".mgz", ".mnc", ".vti", ".vtk", ".isq", ".aim", ".rsq", ".vff", ".bmp",
    ".png", ".jpg", ".jpeg", ".jp2", ".npy", ".npz", ".mat", ".h5", ".hdf5", ".zip", ".7z", ".tar", ".tar.gz",
    ".tgz",
)  # fmt: skip
"""Endings of images in formats that are not read here, and of archives."""
SHOWN = 6
"""Names of files that a message lists."""


def find_images(folder: Path) -> tuple[str, ...]:
    """Return the images of a folder and its subfolders, as relative paths, sorted.

    What cannot be looked into (a link that leads nowhere, a folder that may not be read) is among them:
    whoever reads it says what is wrong. A link back to a folder that was looked into adds nothing.
    """
    return find_images_and_others(folder)[0]


def require_images(folder: Path, verb: str) -> tuple[str, ...]:
    """Return the images as `find_images` does; files that look like images and are not read are named once
    in the log of the command `verb`.

    Raises
    ------
    ConfigError
        `folder-empty`, with those files.
    """
    images, others = find_images_and_others(folder)
    shown = ", ".join(printable(name) for name in others[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
    if not images:
        raise ConfigError(
            "folder-empty", "no image in the folder", where=folder.name, got=shown,
            expected="NIfTI, NRRD, MHA, TIFF, OME-Zarr or folders of DICOM files or TIFF slices",
        )  # fmt: skip
    if others:
        text = "%s  %d of the files are not read: %s; convert those that are volumes, e.g. to NIfTI"
        log.warning(text, verb, len(others), shown)
    return images


def find_images_and_others(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the images as `find_images` does, and the files beside them that look like images not read."""
    images: list[str] = []
    others: list[str] = []
    for path in _iterate_entries(folder, set()):
        name = path.relative_to(folder).as_posix()
        if _is_image(path):
            images.append(name)
        elif name.lower().endswith(NOT_READ):
            others.append(name)
    return tuple(sorted(images)), tuple(sorted(others))


def is_one_image(path: Path) -> bool:
    """Return whether a path is one image: a file, an OME-Zarr, or a folder of DICOM or TIFF slices.

    A few slices beside volumes do not make a series of their folder.
    """
    try:
        named = not path.is_dir() or path.name.lower().endswith(".zarr")
        return named or is_group(path) or ((has_dicom(path) or is_stack(path)) and not _holds_strays(path))
    except PermissionError:
        return True


def _iterate_entries(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = str(folder) if isinstance(folder, ObjectPath) else os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from [path] if is_one_image(path) else _iterate_entries(path, seen)
        else:
            yield path


def _is_image(path: Path) -> bool:
    return path.is_dir() or path.name.lower().endswith((*VOLUMES, *SLICES)) or _is_dicom(path)


def _holds_strays(folder: Path) -> bool:
    """Return whether volumes lie in a folder, and fewer slices beside them than make a series."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    volumes = [path for path in paths if path.name.lower().endswith(VOLUMES) and not path.is_dir()]
    if all(path.name.lower().endswith(TIFFS) for path in volumes):
        return False  # a series by itself, as most are: no file of it is opened
    named = [path for path in paths if path.name.lower().endswith((*SLICES, *TIFFS)) or _is_dicom(path)]
    return sum(not path.is_dir() for path in named) < LEAST_SLICES


def has_dicom(folder: Path) -> bool:
    """Return whether there are DICOM slices in a folder."""
    names = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    return any(p.name.lower().endswith(SLICES) or _is_dicom(p) for p in names if not p.is_dir())


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(VOLUMES) or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
