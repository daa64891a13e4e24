"""Compilation of kernels, cached on disk where that can be done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import TypeVar, cast

import numba
from numba.core.caching import FunctionCache

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., object])


class _Cache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """The cache on disk of one kernel; where it cannot be used the kernel is compiled for this process."""

    def load_overload(self, signature: object, target: object) -> object:
        """Return the stored code, or none."""
        try:
            return super().load_overload(signature, target)
        except OSError as error:
            _say_slower(str(error.strerror))
            return None

    def save_overload(self, signature: object, data: object) -> None:
        """Store the code, where the disk takes it."""
        try:
            super().save_overload(signature, data)
        except OSError as error:
            _say_slower(str(error.strerror))


def kernel(**options: object) -> Callable[[Function], Function]:
    """Return a decorator that compiles on first use; later processes load the code from a cache on disk.

    numba keeps it in ``NUMBA_CACHE_DIR``, the package's ``__pycache__`` or the home. Where none can be
    written (another user, a read-only container, a full disk) each process compiles for itself, and says so.
    """

    def decorate(function: Function) -> Function:
        dispatcher = numba.njit(**options)(function)
        try:
            dispatcher._cache = _Cache(function)
        except (RuntimeError, OSError) as error:
            _say_slower(_reason(error))
        return cast("Function", dispatcher)  # numba types it otherwise

    return decorate


def why_not_kept() -> str:
    """Return why compiled code of this package cannot be kept on disk; nothing where it can."""
    try:
        _Cache(why_not_kept)  # numba looks for a folder that it can write to
    except (RuntimeError, OSError) as error:
        return _reason(error)
    return ""


def _reason(error: RuntimeError | OSError) -> str:
    return "nowhere to write" if isinstance(error, RuntimeError) else str(error.strerror)


@cache
def _say_slower(reason: str) -> None:
    log.warning(
        "compiled code cannot be kept (%s): each start takes up to a minute longer; set NUMBA_CACHE_DIR to a "
        "folder of your own",
        reason,
    )
