"""Paths: a local folder or a prefix of an object store (``s3://bucket/...``), behind the same `Path`.

All differences between the two are here and in `srrd_ray.storage.atomic`. What needs a real file
(image parsers, Parquet, safetensors) takes a `local_copy`; an `ObjectPath` as a file name is an error.
"""

from __future__ import annotations

import fnmatch
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Self

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.storage import objects
from srrd_ray.storage.folders import count_local, expand_home, walk_files
from srrd_ray.storage.objects import Entry

if TYPE_CHECKING:
    from typing_extensions import Buffer

SCHEME = "s3:"
ROOTS = ("zarr.json", "model.json")
"""Files without which a folder is not there: uploaded last and removed first."""
READ_BYTES = 256 * 1024


class ObjectPath(type(Path())):  # type: ignore[misc]  # the concrete class of this platform
    """A path ``s3://bucket/key``, read like a `Path`, written through `srrd_ray.storage.atomic` alone."""

    __slots__ = ()

    @property
    def bucket(self) -> str:
        """The bucket."""
        return str(self.parts[1])

    @property
    def key(self) -> str:
        """The key, or the prefix of a folder without its last slash."""
        return "/".join(self.parts[2:])

    @property
    def prefix(self) -> str:
        """The prefix of all keys below."""
        return f"{self.key}/" if self.key else ""

    def __str__(self) -> str:
        """Return the address."""
        text = super().__str__()
        return text.replace("s3:/", "s3://", 1) if self.parts[:1] == (SCHEME,) else str(text)

    def __fspath__(self) -> str:
        raise StoreError("place-remote", "a local file is needed here", where=self.name)

    def resolve(self, strict: bool = False) -> Self:  # noqa: ARG002
        """Return itself: a store has no links."""
        return self

    def is_symlink(self) -> bool:
        """Return false: a store has no links."""
        return False

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders of a store are names."""

    def is_file(self) -> bool:
        """Return whether there is an object of this key."""
        return self._find() is not None

    def is_dir(self) -> bool:
        """Return whether anything lies below; for a Zarr store, its root, which is written last."""
        if self.name.endswith(".zarr"):
            return bool((self / "zarr.json").is_file())
        listing = _find_listing(self)
        return listing.holds_below(self.prefix) if listing else objects.exists_below(self.bucket, self.prefix)

    def exists(self) -> bool:
        """Return whether it is an object or a folder."""
        return (not self.name.endswith(".zarr") and self.is_file()) or self.is_dir()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002
        """Return size and time of change of an object; all else is zero.

        Raises
        ------
        FileNotFoundError
            Where there is no such object.
        """
        entry = self._find()
        if entry is None:
            raise FileNotFoundError(str(self))
        return os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, entry.size, 0, entry.changed, 0))

    def read_bytes(self) -> bytes:
        """Return the whole object."""
        return objects.read(self.bucket, self.key)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the whole object as text, line ends as `Path` gives them."""
        raw = io.BytesIO(self.read_bytes())
        with io.TextIOWrapper(raw, encoding=encoding or "utf-8", errors=errors) as file:
            return file.read()

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,  # noqa: ARG002
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[bytes] | IO[str]:
        """Return the object for reading; with ``rb`` only the ranges that are read are fetched."""
        if mode == "rb":
            entry = self._find()
            if entry is None:
                raise FileNotFoundError(str(self))
            return io.BufferedReader(_RangeReader(self, entry.size), READ_BYTES)
        if mode != "r":
            raise StoreError("place-remote", "an object is written whole", where=self.name, got=mode)
        raw = io.BytesIO(self.read_bytes())
        return io.TextIOWrapper(raw, encoding=encoding or "utf-8", errors=errors, newline=newline)

    def iterdir(self) -> Iterator[Self]:
        """Yield what lies directly below."""
        yield from (self / name for name in objects.list_children(self.bucket, self.prefix))

    def glob(self, pattern: str) -> Iterator[Self]:
        """Yield the objects (for a pattern of one part: also folders) that match, without ``**``."""
        if "/" not in pattern:
            yield from (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))
            return
        depth = len(PurePosixPath(pattern).parts)
        for path in self.rglob("*"):
            relative = PurePosixPath(path.key.removeprefix(self.prefix))
            if len(relative.parts) == depth and relative.match(pattern):
                yield path

    def rglob(self, pattern: str) -> Iterator[Self]:
        """Yield the objects below whose name matches; folders are not listed."""
        for entry in _list_entries(self):
            path = self / entry.key.removeprefix(self.prefix)
            if fnmatch.fnmatchcase(path.name, pattern):
                yield path

    def unlink(self, missing_ok: bool = False) -> None:  # noqa: ARG002
        """Remove the object; absent ones are no error, as the store does not say."""
        objects.remove(self.bucket, [self.key])

    def _find(self) -> Entry | None:
        listing = _find_listing(self)
        if listing:
            return listing.entries.get(self.key)
        return objects.find_object(self.bucket, self.key) if self.key else None


class _RangeReader(io.RawIOBase):
    """Reads an object piece by piece."""

    def __init__(self, path: ObjectPath, size: int) -> None:
        self.path, self.size, self.at = path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        end = min(self.at + len(view), self.size)
        if end <= self.at:
            return 0
        data = objects.read(self.path.bucket, self.path.key, (self.at, end))
        view[: len(data)] = data
        self.at += len(data)
        return len(data)


@dataclass(frozen=True, slots=True)
class _Listing:
    """The objects below a path when listed; with `last`, only below its children from `first` to `last`."""

    root: ObjectPath
    first: str
    last: str
    entries: dict[str, Entry]
    folders: frozenset[str]

    def holds_below(self, prefix: str) -> bool:
        return prefix in self.folders

    def covers(self, path: ObjectPath) -> bool:
        if not path.is_relative_to(self.root):
            return False
        child = path.parts[len(self.root.parts) : len(self.root.parts) + 1]
        return not self.last or any(self.first <= name and not _is_beyond(name, self.last) for name in child)


_listings: list[_Listing] = []


@contextmanager
def cached_listing(root: Path, first: str = "", last: str = "") -> Iterator[None]:
    """Serve lookups below `root` from one listing, during a block in which nothing is written there.

    It saves a request per lookup. With `last`, only the children are listed whose names lie from `first` to
    `last` or begin with `last`: a part of a large folder. Local folders are not cached.
    """
    if not isinstance(root, ObjectPath):
        yield
        return
    entries = {entry.key: entry for entry in _list_between(root, first, last)}
    parents = {str(parent) for key in entries for parent in PurePosixPath(key).parents}
    folders = {"" if parent == "." else f"{parent}/" for parent in parents}
    _listings.append(_Listing(root=root, first=first, last=last, entries=entries, folders=frozenset(folders)))
    try:
        yield
    finally:
        _listings.pop()


def _list_between(root: ObjectPath, first: str, last: str) -> Iterator[Entry]:
    for entry in objects.iterate_below(root.bucket, root.prefix, root.prefix + first if first else ""):
        if last and _is_beyond(entry.key.removeprefix(root.prefix).partition("/")[0], last):
            return
        if not entry.key.endswith("/"):  # the empty marker that store browsers write for a folder
            yield entry


def _is_beyond(name: str, last: str) -> bool:
    return name > last and not name.startswith(last)


def _find_listing(path: ObjectPath) -> _Listing | None:
    return next((listing for listing in reversed(_listings) if listing.covers(path)), None)


def _list_entries(path: ObjectPath) -> list[Entry]:
    listing = _find_listing(path)
    if listing is None:
        below = objects.iterate_below(path.bucket, path.prefix)
        return [entry for entry in below if not entry.key.endswith("/")]
    return [entry for key, entry in listing.entries.items() if key.startswith(path.prefix)]


def parse_path(path: Path) -> Path:
    """Return a path of the command line, its home expanded; ``s3://bucket/...`` becomes an `ObjectPath`.

    Raises
    ------
    ConfigError
        `place-invalid` for an address without a bucket or of another scheme, or where there is no such home.
    """
    path = expand_home(path)
    first = path.parts[0] if path.parts else ""
    if not first.endswith(":") or len(first) < 3:
        return path
    if first != SCHEME or len(path.parts) < 2 or ".." in path.parts:
        raise ConfigError("place-invalid", "not a readable address", got=first, expected="s3://bucket/folder")
    return ObjectPath(*path.parts)


def to_address(path: Path) -> str:
    """Return `path` as other libraries take it: absolute, or ``s3://bucket/key``."""
    return str(path.resolve())


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Yield `path` itself where it is local, else a local copy that exists until the end of the block.

    Where there is nothing at `path` there is nothing at the copy either.
    """
    if not isinstance(path, ObjectPath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="srrd-") as folder:
        copy = Path(folder) / path.name
        pairs = [(entry.key, copy / entry.key.removeprefix(path.prefix)) for entry in _list_entries(path)]
        if not pairs and path.is_file():
            pairs = [(path.key, copy)]
        for parent in {target.parent for _, target in pairs}:
            parent.mkdir(parents=True, exist_ok=True)
        objects.download(path.bucket, pairs)
        yield copy


def list_sizes(path: Path) -> list[tuple[str, int, int]]:
    """Return name, bytes and modification time (ns) of a file, or of the files below a folder, sorted."""
    if isinstance(path, ObjectPath):
        entries = _list_entries(path) or [entry for entry in [path._find()] if entry]
        return [(entry.key.rpartition("/")[2], entry.size, int(entry.changed * 1e9)) for entry in entries]
    return list(walk_files(path))


def count_and_bytes(path: Path) -> tuple[int, int] | None:
    """Return the number of files at or below `path`, and their bytes; none where the path does not exist."""
    if isinstance(path, ObjectPath):
        files = list_sizes(path)
        return (len(files), sum(size for _, size, _ in files)) if files or path.exists() else None
    return count_local(path)


def find_names(folder: Path, stem: str, suffixes: Sequence[str]) -> list[Path]:
    """Return what lies in `folder` under `stem` and one of the `suffixes`, locally also in capitals.

    Links that lead nowhere are among them: they are there, and whoever reads them says what is wrong. Of two
    names of one file the first is returned; where the folder may not be listed, a path that cannot be read.
    """
    if isinstance(folder, ObjectPath):
        return [path for suffix in suffixes if (path := folder / f"{stem}{suffix}").exists()]
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except PermissionError:
        return [folder / f"{stem}{suffixes[0]}"]
    except OSError:
        return []
    known = [name for name in names if name.startswith(stem) and name[len(stem) :].lower() in suffixes]
    files = {os.path.realpath(folder / name): folder / name for name in reversed(known)}
    return sorted(files.values(), key=lambda path: suffixes.index(path.name[len(stem) :].lower()))


def modified_times(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield name and modification time (ns) of the files of a flat folder that others may write to."""
    if isinstance(folder, ObjectPath):
        yield from ((name, changed) for name, _, changed in list_sizes(folder))
        return
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # one that was renamed since
                yield entry.name, entry.stat().st_mtime_ns


def upload(local: Path, path: ObjectPath) -> None:
    """Upload a local file or folder to `path`, whole or absent to every reader; the old one is removed.

    The root file of a folder (`ROOTS`) is removed first from the old one and uploaded last with the new one.
    """
    if local.is_file():
        objects.upload(path.bucket, [(local, path.key)])
        return
    files = sorted(p for p in local.rglob("*") if p.is_file())
    pairs = [(file, path.prefix + file.relative_to(local).as_posix()) for file in files]
    old = {entry.key for entry in objects.iterate_below(path.bucket, path.prefix)}
    roots = [f"{path.prefix}{name}" for name in ROOTS]
    objects.remove(path.bucket, [key for key in roots if key in old])
    objects.upload(path.bucket, [pair for pair in pairs if pair[1] not in roots])
    objects.remove(path.bucket, sorted(old - {key for _, key in pairs} - set(roots)))
    objects.upload(path.bucket, [pair for pair in pairs if pair[1] in roots])


def append_text(path: Path, text: str) -> None:
    """Append to a small file that has one writer; an object is written anew."""
    if isinstance(path, ObjectPath):
        before = path.read_bytes() if path.is_file() else b""
        objects.write(path.bucket, path.key, before + text.encode())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def remove_tree(path: Path) -> None:
    """Remove a folder and all below it; what cannot be removed stays."""
    if isinstance(path, ObjectPath):
        objects.remove(path.bucket, [entry.key for entry in objects.iterate_below(path.bucket, path.prefix)])
    else:
        shutil.rmtree(path, ignore_errors=True)
