"""The CTs to be read: one, those of a folder, or those of a list; and the names of their results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import Side
from srrd_ray.imaging.folder_images import is_one_image, require_images
from srrd_ray.storage.paths import ObjectPath, parse_path

ONE = "ct"
"""Name of the results where there is one CT."""
LIST = ".txt"


def is_list(ct: Path) -> bool:
    """Return whether a path is a list of CTs: a text file."""
    return ct.suffix.lower() == LIST and ct.is_file()


def name_images(ct: Path) -> dict[str, Path]:
    """Return the CTs, each under the name of its folder of results.

    Parameters
    ----------
    ct
        A CT; a folder of them; or a text file (``.txt``) with the path of a CT on each line, from the folder
        of the list where it is relative. Of a list, empty lines and those that begin with # are left out.

    Raises
    ------
    ConfigError
        `folder-empty`, `list-empty`, `list-repeats`.
    """
    if is_list(ct):
        return _named(_read_list(ct))
    if is_one_image(ct):
        return {ONE: ct}
    return _named({image: ct / image for image in require_images(ct, "infer")})


def relative_name(image: Path, ct: Path) -> str:
    """Return what a table calls a CT: its path below the folder of all or of the list, else its name."""
    root = ct.parent if is_list(ct) else ct
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name


def side_in_name(ct: Path) -> Side | None:
    """Return the side that the name of a file says as those of a cohort do; null where it says none.

    Examples
    --------
    >>> side_in_name(Path("sub-017_side-L_ct.nii.gz"))
    'L'
    """
    found = re.search(r"(?:^|_)side-([LR])(?=[_.]|$)", ct.name)
    if found is None:
        return None
    return "L" if found[1] == "L" else "R"


def _read_list(path: Path) -> dict[str, Path]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise ConfigError(
            "list-empty", "no CT in the list", where=path.name, expected="the path of a CT on each line"
        )
    repeated = [line for line, count in Counter(named).items() if count > 1]
    if repeated:
        raise ConfigError(
            "list-repeats", "a CT is in the list twice", where=path.name, got=f"{len(repeated)} such lines",
            todo="Leave one line of each.",
        )  # fmt: skip
    return {line: _from_list(line, path.parent) for line in named}


def _from_list(line: str, folder: Path) -> Path:
    given = parse_path(Path(line))
    return given if isinstance(given, ObjectPath) else folder / given


def _named(images: Mapping[str, Path]) -> dict[str, Path]:
    counts = Counter(map(_readable, images))
    return {_unique(image, counts): path for image, path in images.items()}


def _unique(image: str, counts: Counter[str]) -> str:
    """Return the readable name of an image, with a hash of its path where another has the same name."""
    name = _readable(image)
    return name if counts[name] == 1 else f"{name}-{hash_json(image)[:8]}"


def _readable(image: str) -> str:
    """Return a name for results out of the path of an image, or the name of one that lies anywhere: safe
    characters alone, not hidden.
    """
    image = Path(image).name if image.startswith(("/", "~", "..", "s3:")) else image
    stem = re.sub(r"\.(nii|nii\.gz|nrrd|nhdr|mha|mhd|ome\.zarr|zarr)$", "", image, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.")[:100] or ONE
