"""Whether this machine and the places of a run can do what a run needs: a line a check, with what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import uuid4

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from srrd_ray.cluster.socket_folder import find_folders
from srrd_ray.core.console import to_own_error
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.machine import usable_cpus, usable_memory
from srrd_ray.storage.claims import claim
from srrd_ray.storage.outputs import require_folder
from srrd_ray.storage.paths import ObjectPath

Verdict: TypeAlias = Literal["OK", "WARN", "FAIL"]
"""A run is not hindered; it goes on, with less; it would stop."""

PACKAGE = "srrd-ray"
GIB, MIB = 2**30, 2**20
LEAST_DISK, LITTLE_DISK = 1 * GIB, 10 * GIB
FULL = 0.95
"""Share of a disk above which Ray moves nothing to it any more."""
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Ray keeps its objects


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do where a run would be hindered."""

    name: str
    verdict: Verdict
    found: str
    todo: str = ""

    def __str__(self) -> str:
        remedy = f". {self.todo}" if self.todo else ""
        return f"{self.verdict:<5} {self.name:<13} {self.found}{remedy}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What to look at: this machine for a run that asks so much of it, and the places of the run, if any."""

    cluster: ClusterConfig
    cohort: Path | None = None
    out: Path | None = None

    def checks(self) -> Iterator[Check]:
        """Yield each check as it ends; one that itself fails is a `FAIL`, with its error."""
        looks: dict[str, Callable[[], Check]] = {
            "python": python,
            "libraries": libraries,
            "decoders": decoders,
            "gpu": partial(gpu, self.cluster),
            "compiled code": compiled_code,
            "temporary": partial(disk, "temporary", Path(tempfile.gettempdir())),
            "clock": clock,
        }
        if os.environ.get("RAY_ADDRESS"):
            looks["cluster"] = joined_cluster
        else:
            looks |= {
                "cpus": partial(cpus, self.cluster),
                "memory": partial(memory, self.cluster),
                "shared memory": partial(shared_memory, self.cluster),
                "sockets": sockets,
            }
        if self.cohort is not None:
            looks["cohort"] = partial(cohort, self.cohort)
        if self.out is not None:
            looks["out"] = partial(out, self.out)
        yield from (looked(name, look) for name, look in looks.items())


def print_checks(examination: Examination) -> int:
    """Return 3 where a check failed, else 0, after printing each check as it ends."""
    code = 0
    for one in examination.checks():
        sys.stdout.write(f"{one}\n")
        sys.stdout.flush()
        code = 3 if one.verdict == "FAIL" else code
    return code


def looked(name: str, look: Callable[[], Check]) -> Check:
    """Return a check; an error in it is what a run would meet too."""
    try:
        return look()
    except Exception as error:  # a library that cannot be loaded raises anything
        return Check(name=name, verdict="FAIL", found=str(to_own_error(error)))


def python() -> Check:
    """Return whether this Python is one that the package supports."""
    found, wanted = platform.python_version(), _supported_python()
    if wanted is not None and found not in SpecifierSet(wanted):
        todo = f"Install it in an environment of Python {wanted}."
        return Check(name="python", verdict="FAIL", found=f"{found}, supported is {wanted}", todo=todo)
    return Check(name="python", verdict="OK", found=found)


def libraries() -> Check:
    """Return whether every library that is needed is there, in a version that is supported."""
    needed = _requirements()
    if not needed:
        found = "SRRD-Ray runs from a clone: the versions it needs are not known"
        return Check(name="libraries", verdict="WARN", found=found, todo="pip install -e . tells them.")
    wrong = [words for one in needed if (words := _mismatch(one))]
    if wrong:
        todo = f"pip install --upgrade {PACKAGE}, or with its constraints.txt."
        return Check(name="libraries", verdict="FAIL", found="; ".join(wrong), todo=todo)
    return Check(name="libraries", verdict="OK", found=f"{len(needed)} in the versions that are supported")


def decoders() -> Check:
    """Return whether compressed DICOM can be read."""
    wrong = [words for one in _requirements("dicom") if (words := _mismatch(one))]
    if wrong:
        todo = f"If yours is: pip install '{PACKAGE}[dicom]'."
        found = f"compressed DICOM would be refused: {'; '.join(wrong)}"
        return Check(name="decoders", verdict="WARN", found=found, todo=todo)
    return Check(name="decoders", verdict="OK", found="compressed DICOM can be read")


def gpu(cluster: ClusterConfig) -> Check:
    """Return whether torch sees the GPUs of this machine."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count:
        return Check(name="gpu", verdict="OK", found=f"{count}: {torch.cuda.get_device_name(0)}")
    if NVIDIA_DRIVER.is_file():
        found = f"there is a driver, but torch {torch.__version__} sees no GPU"
        todo = "Install the build of torch for the CUDA version of the driver (nvidia-smi tells it)."
    else:
        found, todo = "none", "Training takes the CPUs."
    if cluster.gpu == "require" and not os.environ.get("RAY_ADDRESS"):
        return Check(name="gpu", verdict="FAIL", found=f"{found}, cluster.gpu is require", todo=todo)
    return Check(name="gpu", verdict="WARN" if NVIDIA_DRIVER.is_file() else "OK", found=found, todo=todo)


def compiled_code() -> Check:
    """Return whether compiled kernels can be kept on disk."""
    from srrd_ray.core.kernels import why_not_kept

    reason = why_not_kept()
    if reason:
        found = f"compiled code cannot be kept ({reason}): each start takes up to a minute longer"
        todo = "Set NUMBA_CACHE_DIR to a folder of your own."
        return Check(name="compiled code", verdict="WARN", found=found, todo=todo)
    return Check(name="compiled code", verdict="OK", found="is kept on disk")


def disk(name: str, folder: Path) -> Check:
    """Return whether a disk has room."""
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / GIB:.1f} GiB free at {folder}"
    if usage.free < LEAST_DISK:
        return Check(name=name, verdict="FAIL", found=found, todo="Free space, or set TMPDIR.")
    if usage.free < LITTLE_DISK or usage.free < (1 - FULL) * usage.total:
        todo = (
            f"It may not be enough: Ray uses a disk until it is {FULL:.0%} full. Free space, or set TMPDIR."
        )
        return Check(name=name, verdict="WARN", found=found, todo=todo)
    return Check(name=name, verdict="OK", found=found)


def clock() -> Check:
    """Return whether the clock is not behind the installation of this package."""
    now, installed = time.time(), Path(__file__).stat().st_mtime
    shown = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    if now < installed - 60:
        found = f"{shown} is before this software was installed"
        todo = "Set the clock: object stores and logs go by it."
        return Check(name="clock", verdict="WARN", found=found, todo=todo)
    return Check(name="clock", verdict="OK", found=shown)


def joined_cluster() -> Check:
    """Return what is not looked at where a run joins a cluster."""
    found = "RAY_ADDRESS names one: its nodes were not looked at, a run checks them when it joins"
    return Check(name="cluster", verdict="OK", found=found)


def cpus(cluster: ClusterConfig) -> Check:
    """Return whether this process may use as many CPUs as a run asks for."""
    have, wanted = usable_cpus(), max(cluster.cpus, cluster.training_workers)
    found = f"{have:g} of {os.cpu_count()}"
    if have < wanted:
        found = f"{found}, asked for are {wanted} (cluster.cpus, cluster.training_workers)"
        todo = "They take turns: all is slower. Raise the limit, or lower cluster.cpus."
        return Check(name="cpus", verdict="WARN", found=found, todo=todo)
    return Check(name="cpus", verdict="OK", found=found)


def memory(cluster: ClusterConfig) -> Check:
    """Return whether a task over one knee finds the memory that it asks for."""
    have = usable_memory()
    if have is None:
        return Check(name="memory", verdict="WARN", found="the system does not say what is free")
    knees = (have - cluster.object_store_mb * MIB) // (cluster.knee_memory_mb * MIB)
    found = f"{have / GIB:.1f} GiB free: {max(knees, 0)} knees of {cluster.knee_memory_mb} MiB at a time"
    if knees < 1:
        todo = "Use a machine with more, raise the limit, or lower cluster.knee_memory_mb."
        return Check(name="memory", verdict="FAIL", found=found, todo=todo)
    if knees < int(usable_cpus()):
        todo = "Fewer than there are CPUs: more memory would make it faster."
        return Check(name="memory", verdict="WARN", found=found, todo=todo)
    return Check(name="memory", verdict="OK", found=found)


def shared_memory(cluster: ClusterConfig) -> Check:
    """Return whether Ray's object store fits into shared memory."""
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    found = f"{free / MIB:.0f} MiB free, of which Ray takes {cluster.object_store_mb}"
    if free < cluster.object_store_mb * MIB:
        todo = "Ray would use the disk: start the container with more (--shm-size)."
        return Check(name="shared memory", verdict="WARN", found=found, todo=todo)
    return Check(name="shared memory", verdict="OK", found=found)


def sockets() -> Check:
    """Return whether Ray's sockets find a folder with a short path."""
    folder, _, remark = find_folders()
    if remark:
        todo = "Nothing has to be done; RAY_TMPDIR chooses another short path."
        return Check(name="sockets", verdict="WARN", found=f"{remark}: {folder} is used", todo=todo)
    return Check(name="sockets", verdict="OK", found="TMPDIR is short enough for those of Ray")


def cohort(path: Path) -> Check:
    """Return whether a cohort is there and can be read."""
    if not (path / "participants.tsv").is_file():
        todo = "Give the folder of the cohort; srrd check tells all else of it."
        return Check(name="cohort", verdict="FAIL", found="no participants.tsv is there", todo=todo)
    return Check(name="cohort", verdict="OK", found="is there and can be read")


def out(path: Path) -> Check:
    """Return whether results can be written to a place, and whether one job at a time can hold it."""
    require_folder("--out", path)
    nearest, room = path, ""
    if not isinstance(path, ObjectPath):
        nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())
        room = f", {shutil.disk_usage(nearest).free / GIB:.1f} GiB free"
    if not locks_hold(nearest / f".srrd-doctor-{uuid4().hex[:12]}"):
        todo = "Choose another storage for --out: two jobs could write into one folder."
        return Check(
            name="out", verdict="FAIL", found="its storage does not keep a lock to one job", todo=todo
        )
    return Check(name="out", verdict="OK", found=f"can be written, and locks hold{room}")


def locks_hold(path: Path) -> bool:
    """Return whether a file that does not exist yet can be held by one process, as the lock of a run is."""
    held = claim(path, "first")
    try:
        claim(path, "second").release()
    except FileExistsError:
        return held.renew("again")
    finally:
        held.release()
    return False


def _requirements(extra: str = "") -> list[Requirement]:
    """Return what the package needs, or what an extra adds; nothing where it is not installed."""
    try:
        every = [Requirement(one) for one in requires(PACKAGE) or ()]
    except PackageNotFoundError:
        return []
    plain = [one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})]
    added = [one for one in every if one.marker is not None and one.marker.evaluate({"extra": extra})]
    return [one for one in added if one not in plain] if extra else plain


def _mismatch(wanted: Requirement) -> str:
    """Return in words how a library is not as required; nothing where it is."""
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is absent"
    return (
        ""
        if wanted.specifier.contains(found, prereleases=True)
        else f"{wanted.name} {found} is not {wanted.specifier}"
    )


def _supported_python() -> str | None:
    try:
        return metadata(PACKAGE)["Requires-Python"]
    except PackageNotFoundError:
        return None
