"""The inputs and outputs that `srrd measure` is given, looked at before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.core.one_line import printable
from srrd_ray.imaging.folder_images import is_one_image
from srrd_ray.imaging.places import require_there
from srrd_ray.measurement.table import TABLES
from srrd_ray.storage.outputs import require_file, require_folder, require_outside


def check_places(
    image: Path, *, masks: Sequence[Path | None], out: Path | None, picture: Path | None, maps: Path | None
) -> None:
    """Refuse inputs that are not there and outputs that cannot be written.

    Raises
    ------
    ConfigError
        `image-missing`, `link-broken`, `path-unreadable`, `output-in-input`, or as `require_file` and
        `require_folder`.
    StoreError
        `output-unwritable`.
    """
    for path in (image, *masks):
        if path is not None:
            _require_input(path)
    if out is not None:
        require_file("--out", out, (".json", *TABLES))
    if picture is not None:
        require_file("--picture", picture, (".png",))
    if maps is not None:
        require_folder("--maps", maps)
    if image.is_dir() and is_one_image(image):
        for path in (out, picture, maps):
            if path is not None:
                require_outside(
                    path, image, "the output would lie inside the image", where=image.name, got=path.name,
                    todo="Choose a place beside it: what lies in it is part of the image.",
                )  # fmt: skip


def _require_input(path: Path) -> None:
    try:
        require_there(path)
    except InputError as error:  # a wrong name on the command line is a usage error
        where = printable(error.where)
        raise ConfigError(
            error.code, error.what, where=where, got=error.got, expected=error.expected, todo=error.todo
        ) from error
