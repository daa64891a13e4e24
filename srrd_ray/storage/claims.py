"""A small file that one process holds: made where there is none, renewed and removed by its holder alone.

A local file is held by its open descriptor: one that another has put in its place is never written to. An
object is written on the condition that it is the one that was there before; where a store knows no
conditions, it is asked after a while whose the object is.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from srrd_ray.storage import objects
from srrd_ray.storage.paths import ObjectPath

SETTLE_S = 3.0
"""After this a store without conditional writes shows which of two writers was the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What an observer saw of a held file: its text, and a stamp that the storage renews with each write."""

    text: str
    stamp: str


class Claim(Protocol):
    """A file that this process holds."""

    def renew(self, text: str) -> bool:
        """Write a new text that is not shorter; return false where the file is another's by now."""
        ...

    def release(self) -> None:
        """Remove the file, unless it is another's by now."""
        ...


def see(path: Path) -> Seen | None:
    """Return what is there, past the caches of a network file system; nothing where there is no file."""
    try:
        if isinstance(path, ObjectPath):
            data, stamp = objects.read_stamped(path.bucket, path.key)
            return Seen(text=data.decode(errors="replace"), stamp=stamp)
        with path.open("rb") as file:  # to open it asks the server; to ask for its status alone may not
            status = os.fstat(file.fileno())
            data = file.read()
    except FileNotFoundError:
        return None
    stamp = f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"
    return Seen(text=data.decode(errors="replace"), stamp=stamp)


def claim(path: Path, text: str) -> Claim:
    """Return the claim on a file that must not exist yet; of two processes one wins.

    Raises
    ------
    FileExistsError
        Where it exists.
    """
    if isinstance(path, ObjectPath):
        _create_object(path, text)
        return _ObjectClaim(path=path, text=text, sent=text)
    return _LocalClaim(path=path, text=text, descriptor=_create_file(path, text))


def take_over(path: Path, seen: Seen, text: str) -> Claim:
    """Return the claim on a file that is still the one that was `seen`.

    Raises
    ------
    FileExistsError
        Where it has changed since.
    """
    if isinstance(path, ObjectPath):
        if see(path) != seen:
            raise FileExistsError(path.name)
        objects.write(path.bucket, path.key, text.encode(), match=seen.stamp)
        _settle(path, text)
        return _ObjectClaim(path=path, text=text, sent=text)
    with _one_at_a_time(path.parent):
        if not _remove(path, seen.text):
            raise FileExistsError(path.name)
        return claim(path, text)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one job at a time take over a file in a folder, where its storage can tell them apart.

    A slower one would otherwise move the quicker one's new file aside, and a third one find none.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # storage without such locks: the heartbeat finds a file that was lost
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class _LocalClaim:
    path: Path
    text: str
    descriptor: int

    def renew(self, text: str) -> bool:
        found = see(self.path)
        if found is None:  # removed by hand
            return self._made_again(text)
        if found.text != self.text:
            return False
        _write(self.descriptor, text)
        self.text = text
        return True

    def release(self) -> None:
        _remove(self.path, self.text)
        os.close(self.descriptor)

    def _made_again(self, text: str) -> bool:
        try:
            made = _create_file(self.path, text)
        except FileExistsError:
            return False
        os.close(self.descriptor)
        self.descriptor, self.text = made, text
        return True


@dataclass(slots=True)
class _ObjectClaim:
    """`sent` is what may be there as well: the reply to its writing was lost."""

    path: ObjectPath
    text: str
    sent: str

    def renew(self, text: str) -> bool:
        found = see(self.path)
        try:
            if found is None:
                _create_object(self.path, text)
            elif found.text not in (self.text, self.sent):
                return False
            else:
                self.sent = text
                objects.write(self.path.bucket, self.path.key, text.encode(), match=found.stamp)
        except FileExistsError:
            return False
        self.text = self.sent = text
        return True

    def release(self) -> None:
        found = see(self.path)
        if found is not None and found.text in (self.text, self.sent):
            self.path.unlink()


def _create_file(path: Path, text: str) -> int:
    """Return the descriptor of a new file that holds `text`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write(descriptor, text)
    except OSError:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor


def _write(descriptor: int, text: str) -> None:
    os.pwrite(descriptor, text.encode(), 0)
    os.fsync(descriptor)  # the server of a network file system has it; until then nobody else sees it


def _remove(path: Path, text: str) -> bool:
    """Return whether the file is gone, after removing one that holds `text` and no other.

    It is renamed first: of several processes one gets it, and looks at what it got.
    """
    found = see(path)
    if found is None or found.text != text:
        return found is None
    aside = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    got = see(aside)
    mine = got is None or got.text == text
    if not mine:
        with suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)
    return mine


def _create_object(path: ObjectPath, text: str) -> None:
    if see(path) is not None:  # a store may ignore the condition
        raise FileExistsError(path.name)
    with suppress(
        FileExistsError
    ):  # also where the reply to a first try was lost: the object says whose it is
        objects.write(path.bucket, path.key, text.encode(), new=True)
    _settle(path, text)


def _settle(path: ObjectPath, text: str) -> None:
    """Return once an object that was just written is this process's for certain.

    Raises
    ------
    FileExistsError
        Where another process wrote it too, and later.
    """
    try:
        objects.write(path.bucket, path.key, text.encode(), new=True)
    except FileExistsError:
        pass  # the store decides itself: its condition held when the object was written
    else:
        time.sleep(SETTLE_S)
    found = see(path)
    if found is None or found.text != text:
        raise FileExistsError(path.name)
