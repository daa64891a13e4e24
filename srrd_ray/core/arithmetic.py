"""What the last bits of a result depend on besides the configuration.

These are the processor, its instruction sets, the libraries and the number of threads. Libraries choose their
code by the instruction sets of the processor, and code for another one adds in another order.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

CHOICES = (
    "ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES", "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS",
)  # fmt: skip
"""Environment variables by which people overrule what libraries choose."""
CPUINFO = Path("/proc/cpuinfo")
SETTING = re.compile(r"[\w+\-., ]{1,64}")
UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arithmetic:
    """What the driver calculates with; empty where it is not known, as in a run of an earlier version.

    Parameters
    ----------
    machine
        Architecture: ``x86_64``, ``aarch64``.
    processor
        Model name, as the operating system gives it.
    instructions
        Instruction sets of the processor, under the names that numpy dispatches on.
    blas
        Name and version of numpy's linear algebra.
    chosen
        The environment variables of `CHOICES` that are set.
    """

    machine: str = ""
    processor: str = ""
    instructions: tuple[str, ...] = ()
    blas: str = ""
    chosen: dict[str, str] = field(default_factory=dict)

    def differences(self, other: Arithmetic) -> tuple[str, ...]:
        """Return what differs in words, ``processor A, now B``; nothing where either is not known."""
        if Arithmetic() in (self, other):
            return ()
        pairs = ((one.name, getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return tuple(f"{name} {_words(old)}, now {_words(new)}" for name, old, new in pairs if old != new)


def here() -> Arithmetic:
    """Return what this process calculates with; no library is imported for it."""
    built = np.show_config(mode="dicts")
    blas = _at(built, "Build Dependencies", "blas")
    return Arithmetic(
        machine=platform.machine(),
        processor=processor_of(
            CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
        ),
        instructions=tuple(_instructions(_at(built, "SIMD Extensions"))),
        blas=f"{blas.get('name', UNKNOWN)} {blas.get('version', UNKNOWN)}",
        chosen={name: _setting(os.environ[name]) for name in CHOICES if name in os.environ},
    )


def processor_of(cpuinfo: str) -> str:
    r"""Return the model name in the text of ``/proc/cpuinfo``, else what Python knows of the processor.

    >>> processor_of("processor\t: 0\nmodel name\t: AMD EPYC\n")
    'AMD EPYC'
    """
    found = re.search(r"^model name\s*:\s*(.{1,64})", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.processor()


def _setting(value: str) -> str:
    """Return a value as libraries take it; another could be anything, also a path."""
    return value if SETTING.fullmatch(value) else UNKNOWN


def _instructions(extensions: Mapping[str, object]) -> Iterator[str]:
    for kind in ("baseline", "found"):
        names = extensions.get(kind, ())
        yield from map(str, names if isinstance(names, list) else [])


def _at(data: object, *keys: str) -> Mapping[str, object]:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def _words(value: object) -> str:
    match value:
        case Mapping():
            return " ".join(f"{name}={one}" for name, one in value.items()) or "none"
        case tuple():
            return " ".join(value) or "none"
        case _:
            return str(value) or "unknown"
