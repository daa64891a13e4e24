"""One job an output folder: a lock that names its holder and moves while the holder lives.

Whoever finds a lock looks for its process where that can be done, and else watches whether the lock changes:
clocks are never compared, since that of a node, of the storage and of the observer may be minutes apart.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple, TypeAlias

from srrd_ray.core.errors import StoreError
from srrd_ray.execution.holder import Holder
from srrd_ray.storage.claims import Claim, Seen, claim, see, take_over

log = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
SILENT_S = 90.0
"""A lock that has not changed while it was watched for so long is dead.

Caches of network file systems show a change up to a minute late.
"""
POLL_S = 0.5
LOCK = ".lock"
"""Name of the lock in the folder that it guards."""

Evidence: TypeAlias = Literal[
    "its process runs", "its heartbeat moves", "its process is gone", "no heartbeat"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The job that a lock names, since when it holds it (UTC), and by what it was found alive or dead.

    `since` is empty where the lock does not say; `evidence` is null where nobody looked.
    """

    host: str
    pid: int
    since: str
    evidence: Evidence | None

    @property
    def stale(self) -> bool:
        """Whether the job is dead: the next one takes the lock over."""
        return self.evidence in ("its process is gone", "no heartbeat")


@dataclass(slots=True)
class Held:
    """A lock that this process holds; `lost` is set where another job has it by now."""

    root: Path
    lost: threading.Event = field(default_factory=threading.Event)

    def require(self) -> None:
        """Raise `output-lost` where another job has the lock by now."""
        if self.lost.is_set():
            raise self.error()

    def error(self) -> StoreError:
        """Return the error of a job that has lost its lock."""
        return StoreError(
            "output-lost", "another job took this output folder over", where=self.root.name,
            got="the lock of another job in place of this one's",
            todo=f"Was this process stopped for more than {SILENT_S:.0f} s, or its lock removed? "
            "Wait for the other job.",
        )  # fmt: skip


def owner_of(root: Path, *, watch: bool = True) -> Owner | None:
    """Return who holds the lock of a run folder, dead or alive; None where it is free.

    It takes up to `SILENT_S` where the process cannot be looked for; without `watch` nobody looks at all.
    """
    seen = see(root / LOCK)
    if seen is None:
        return None
    if not watch:
        return _owner(seen, None)
    found = _observe(root / LOCK, seen)
    return None if found is None else found[1]


@contextmanager
def locked(root: Path) -> Iterator[Held]:
    """Hold the lock of a run folder for the length of a block.

    A lock whose process is gone, or that does not change for `SILENT_S`, is taken over. Where this job's own
    is taken over (it was stopped for longer), the block is interrupted.

    Raises
    ------
    StoreError
        `output-locked` naming the owner; `output-unwritable` where nothing can be written there;
        `output-lost` where another job has it by now.
    """
    holder, held = Holder.here(), Held(root=root)
    mine = _taken(root, holder)
    with _interruptible(held) as interrupt:
        stop = threading.Event()
        heart = threading.Thread(
            target=_beat, args=(_Heart(mine, holder, held, interrupt), stop), daemon=True
        )
        heart.start()
        try:
            yield held
        finally:
            stop.set()
            heart.join()
            with suppress(OSError):  # what is left of it is found dead
                mine.release()


@contextmanager
def _interruptible(held: Held) -> Iterator[Callable[[], None]]:
    """Yield a function by which another thread ends the block where its lock is lost.

    The signal wakes a main thread that waits for Ray; as `KeyboardInterrupt` it is no failure of a knee.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        yield lambda: None
        return
    before = signal.signal(signal.SIGUSR1, _interrupt)
    try:
        yield partial(signal.pthread_kill, main.ident, signal.SIGUSR1)
    except KeyboardInterrupt:
        if not held.lost.is_set():
            raise
    finally:
        signal.signal(signal.SIGUSR1, before)
    held.require()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _taken(root: Path, holder: Holder) -> Claim:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _take(root / LOCK, holder)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            "output-unwritable", "cannot write into the output folder", where=root.name,
            got=str(error.strerror), todo="Choose another --out, on storage that every node can write.",
        ) from error  # fmt: skip


def _take(path: Path, holder: Holder) -> Claim:
    for _ in range(3):
        seen = see(path)
        with suppress(FileExistsError):  # somebody else was quicker: look again
            if seen is None:
                return claim(path, holder.text())
            dead = _refuse_living(path, seen)
            return claim(path, holder.text()) if dead is None else take_over(path, dead, holder.text())
    raise StoreError(
        "output-locked", "another job took the output folder at this moment", where=path.parent.name
    )


def _refuse_living(path: Path, seen: Seen) -> Seen | None:
    """Return the lock of a dead job; None where it was released meanwhile."""
    found = _observe(path, seen)
    if found is None or found[1].stale:
        return found and found[0]
    owner = found[1]
    since = f" since {owner.since}" if owner.since else ""
    raise StoreError(
        "output-locked",
        "another job works in this output folder",
        where=path.parent.name,
        got=f"process {owner.pid} on {owner.host}{since}: {owner.evidence}",
        todo="Wait for it or stop it; the lock of a dead job is taken over by the next.",
    )


def _observe(path: Path, seen: Seen) -> tuple[Seen, Owner] | None:
    """Return the lock as it was last seen, with its owner; None where it was released meanwhile."""
    match Holder.parse(seen.text).life():
        case "running":
            return seen, _owner(seen, "its process runs")
        case "gone":
            return seen, _owner(seen, "its process is gone")
        case "unknown":
            return _watch(path, seen)


def _watch(path: Path, first: Seen) -> tuple[Seen, Owner] | None:
    """Watch a lock until it changes, but no longer than `SILENT_S`.

    Looks are counted, not seconds: this process may be stopped too.
    """
    for look in range(round(SILENT_S / POLL_S)):
        time.sleep(POLL_S)
        seen = see(path)
        if seen is None:
            return None
        if seen != first:
            return seen, _owner(seen, "its heartbeat moves")
        if look == round(HEARTBEAT_S / POLL_S):
            log.warning("a lock of %s is watched for up to %.0f s", Holder.parse(first.text).host, SILENT_S)
    return first, _owner(first, "no heartbeat")


def _owner(seen: Seen, evidence: Evidence | None) -> Owner:
    holder = Holder.parse(seen.text)
    return Owner(host=holder.host, pid=holder.pid, since=holder.since, evidence=evidence)


class _Heart(NamedTuple):
    """What beats: the claim, the holder that it names, whether it is lost, and what then ends the work."""

    claim: Claim
    holder: Holder
    held: Held
    interrupt: Callable[[], None]


def _beat(heart: _Heart, stop: threading.Event) -> None:
    holder = heart.holder
    while not stop.wait(HEARTBEAT_S):
        holder = holder.next_beat()
        with suppress(OSError):  # a storage that does not answer now may do so at the next beat
            if not heart.claim.renew(holder.text()):
                heart.held.lost.set()
                log.error("%s", heart.held.error())
                heart.interrupt()
                return
