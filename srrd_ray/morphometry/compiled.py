"""Compilation of kernels: cached on disk, without the interpreter lock;
and one bit operation that numba lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Return `function` compiled on first use; later processes load the code from ``__pycache__``."""
    return cast(
        "Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    )  # numba types it otherwise


def inlined(function: Function) -> Function:
    """Return `function` for use inside other kernels only."""
    return cast(
        "Function", numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")(function)
    )


def _trailing_zeros(_context: object, _value: object) -> tuple[object, object]:
    def codegen(_ctx: object, builder: ir.IRBuilder, _signature: object, args: tuple[ir.Value]) -> object:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


trailing_zeros = cast("Callable[[np.uint64], int]", intrinsic(_trailing_zeros))
"""The index of the lowest set bit of a non-zero uint64: one machine instruction. For use inside kernels."""
