"""What lies where an image should be: absent, a link to nothing and not to be read are three things."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from srrd_ray.core.errors import InputError
from srrd_ray.storage.paths import ObjectPath


def require_there(path: Path) -> None:
    """Refuse a path at which there is no file or folder that can be read.

    Raises
    ------
    InputError
        `image-missing` where there is nothing, `link-broken` for a link to nothing or to itself,
        `path-unreadable` where the system does not let us look, `path-special` for pipes and devices.
    """
    if isinstance(path, ObjectPath) and path.exists():  # a folder of a store has no `stat`
        return
    try:
        path.stat()
        if not _may_read(path):
            raise unreadable_error(path.name, "1 path")
        if not (path.is_dir() or path.is_file()):
            raise InputError(
                "path-special", "neither a file nor a folder", where=path.name,
                got="a pipe, socket or device",
                todo="Write what comes through it to a file first.",
            )  # fmt: skip
        return
    except FileNotFoundError:
        broken = path.is_symlink()
    except PermissionError as error:
        raise unreadable_error(path.name, "1 path") from error
    except OSError:  # a link to itself, a file that is taken for a folder, a name too long
        broken = path.is_symlink()
    if broken:
        raise broken_link_error(path.name, "1 link")
    raise InputError(
        "image-missing",
        "there is no such file or folder",
        got=path.name,
        todo="Check the path and its spelling.",
    )


def _may_read(path: Path) -> bool:
    mode = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def list_files(folder: Path) -> list[Path]:
    """Return all files below `folder`, sorted, and links to folders where they lead out.

    A link to a folder inside, or to `folder` itself, adds nothing: what it leads to is listed in its place.

    Raises
    ------
    InputError
        `link-broken` or `path-unreadable`, with how many: what cannot be opened is not taken as absent.
    """
    broken: list[Path] = []
    denied: list[Path] = []
    files = sorted(_walk(folder, folder, broken, denied))
    if denied:
        raise unreadable_error(folder.name, f"{len(denied)} of its folders")
    if broken:
        raise broken_link_error(folder.name, f"{len(broken)} of {len(files) + len(broken)} entries")
    return files


def _walk(folder: Path, root: Path, broken: list[Path], denied: list[Path]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        denied.append(folder)
        return
    for entry in entries:
        path = folder / entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(path, root, broken, denied)
            elif entry.is_symlink() and not path.exists():
                broken.append(path)
            elif entry.is_file() or (entry.is_dir() and not _leads_inside(path, root)):
                yield path
        except PermissionError:
            denied.append(path)
        except OSError:  # a link to itself
            broken.append(path)


def _leads_inside(link: Path, root: Path) -> bool:
    return link.resolve().is_relative_to(root.resolve())


def is_pointer(head: bytes) -> bool:
    """Return whether a file that begins with `head` only stands for one that was not fetched."""
    return head.startswith((b"version https://git-lfs", b"/annex/objects/"))


def broken_link_error(where: str, got: str) -> InputError:
    """Return the refusal of links that lead to nothing, or round in a circle."""
    return InputError(
        "link-broken",
        "a link leads to no file, or what it stands for was not fetched",
        where=where,
        got=got,
        expected="files, or links to files that are there",
        todo="Fetch what the links stand for (git annex get, dvc pull), or copy the files.",
    )


def unreadable_error(where: str, got: str) -> InputError:
    """Return the refusal of a file or folder that may not be read."""
    return InputError(
        "path-unreadable",
        "a file or folder may not be read",
        where=where,
        got=got,
        todo="Give this user the right to read it.",
    )
