"""The images in a folder: files by their name, OME-Zarr, and folders of DICOM slices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from srrd_ray.imaging.foreign_zarr import is_group

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
SLICES = (".dcm", ".ima")


def find_images(folder: Path) -> tuple[str, ...]:
    """Return the images of a folder and its subfolders, as relative paths, sorted."""
    return tuple(sorted(path.relative_to(folder).as_posix() for path in _iterate_images(folder)))


def is_one_image(path: Path) -> bool:
    """Return whether a path is one image: a file, an OME-Zarr, or a folder with DICOM slices in it."""
    return not path.is_dir() or is_group(path) or _has_slices(path)


def _iterate_images(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from [path] if is_one_image(path) else _iterate_images(path)
        elif path.name.lower().endswith(VOLUMES):
            yield path


def _has_slices(folder: Path) -> bool:
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    return any(p.name.lower().endswith(SLICES) or _is_dicom(p) for p in files)


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(VOLUMES):
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
