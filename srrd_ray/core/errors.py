"""Errors with a stable code and a message that says what, where, got, expected and what to do next.

Every error derives from `SrrdError` and from the builtin that a caller would expect.
A message never carries patient data: only the pseudonymous key of a knee, tag names, counts,
sizes and file names inside the cohort.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias


class SrrdError(Exception):
    """An error whose `code` is stable and whose text can be acted on.

    Parameters
    ----------
    code
        Stable, kebab-case, e.g. ``dicom-gap``. Tests and tables use it;
        the text may change, the code may not.
    what
        One clause: what is wrong.
    where, got, expected, todo
        Where it was seen, what was found, what was needed, and what the user does next.
    """

    def __init__(
        self, code: str, what: str, *, where: str = "", got: str = "", expected: str = "", todo: str = ""
    ) -> None:
        self.code, self.what, self.where, self.got, self.expected, self.todo = (
            code,
            what,
            where,
            got,
            expected,
            todo,
        )
        super().__init__(self._text())

    def _text(self) -> str:
        details = [
            f"{name} {value}" for name, value in (("got", self.got), ("expected", self.expected)) if value
        ]
        text = f"[{self.code}] {self.what}"
        text += f" in {self.where}" if self.where else ""
        text += f": {', '.join(details)}" if details else ""
        return text + (f". {self.todo}" if self.todo else "")

    def __reduce__(self) -> tuple[object, ...]:
        """Keep every field when the error crosses a process boundary."""
        fields = (self.code, self.what, self.where, self.got, self.expected, self.todo)
        return _rebuild, (type(self), fields)


def _rebuild(kind: type[SrrdError], fields: tuple[str, str, str, str, str, str]) -> SrrdError:
    code, what, where, got, expected, todo = fields
    return kind(code, what, where=where, got=got, expected=expected, todo=todo)


class InputError(SrrdError, ValueError):
    """One image, mask or series cannot be used: its knee fails, the others go on."""


class CohortError(SrrdError, ValueError):
    """The cohort's tables or layout are wrong: the run stops before any work."""


class ConfigError(SrrdError, ValueError):
    """A configuration or command line is wrong: the run stops before any work (exit code 2)."""


class StoreError(SrrdError, OSError):
    """Stored data is missing, torn, altered, of another version, or storage cannot be used (exit code 3)."""


NO_SPACE = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))
FREE_SPACE = "Free space and run the same command again: finished work is kept."
STORAGE_LOST = ("store-unreachable", "store-denied", "bucket-missing", "output-full", "output-not-shared")
"""Codes of a `StoreError` that every further work item would hit too:
the run stops instead of failing every knee.
"""


class _Coded(Protocol):
    @property
    def code(self) -> str: ...


def is_storage_lost(found: _Coded) -> bool:
    """Return whether an error, or the fault of one, means storage that all further work items would miss."""
    return found.code in STORAGE_LOST


class NotEstimableError(SrrdError, ArithmeticError):
    """A quantity has no value on this input, e.g. an AUC with one class."""


class RegistrationError(SrrdError, RuntimeError):
    """No acceptable transform was found for a bone."""


class TrainingError(SrrdError, RuntimeError):
    """Training cannot go on, e.g. a non-finite loss."""


class ClusterError(SrrdError, RuntimeError):
    """The Ray cluster cannot do what was asked (exit code 3)."""


ErrorKind: TypeAlias = Literal[
    "InputError", "CohortError", "ConfigError", "StoreError", "NotEstimableError", "RegistrationError",
    "TrainingError", "ClusterError", "SrrdError",
]  # fmt: skip
"""The classes of errors that a stored fault names; the last is for an exception that is none of ours."""

ERRORS: Mapping[ErrorKind, type[SrrdError]] = MappingProxyType({
    "InputError": InputError,
    "CohortError": CohortError,
    "ConfigError": ConfigError,
    "StoreError": StoreError,
    "NotEstimableError": NotEstimableError,
    "RegistrationError": RegistrationError,
    "TrainingError": TrainingError,
    "ClusterError": ClusterError,
    "SrrdError": SrrdError,
})  # fmt: skip

EXIT_CODES: Mapping[type[SrrdError], int] = MappingProxyType(
    {ConfigError: 2, CohortError: 2, StoreError: 3, ClusterError: 3, SrrdError: 1}
)
"""The exit code that an error ends a command or a run with; its nearest class counts."""


def exit_code(error: BaseException) -> int:
    """Return the exit code of an error; 1 for what is no error of ours."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1)


def kind_of(error: BaseException) -> ErrorKind:
    """Return the name of the nearest class of an error in `ERRORS`."""
    return next((kind for kind, own in ERRORS.items() if isinstance(error, own)), "SrrdError")
