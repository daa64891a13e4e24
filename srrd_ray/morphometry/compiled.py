"""Compilation of kernels: cached on disk, without the interpreter lock;
and one bit operation that numba lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from srrd_ray.core.kernels import kernel

compiled = kernel(nogil=True, error_model="numpy")
"""Compile a function, without the interpreter lock."""
inlined = kernel(nogil=True, inline="always", error_model="numpy")
"""Compile a function for use inside other kernels only."""


def _trailing_zeros(_context: object, _value: object) -> tuple[object, object]:
    def codegen(_ctx: object, builder: ir.IRBuilder, _signature: object, args: tuple[ir.Value]) -> object:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


trailing_zeros = cast("Callable[[np.uint64], int]", intrinsic(_trailing_zeros))
"""The index of the lowest set bit of a non-zero uint64: one machine instruction. For use inside kernels."""
