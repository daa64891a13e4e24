"""Images from one lattice onto another along the same axes: means where it gets coarser, else linear.

Separable, so that a whole CT is brought onto the working grid in seconds; the same weights simulate thick
slices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]


def axis_weights(count: int, made: int, step: float, first: float) -> sparse.csr_array:
    """Return the weights (made, count) of values `step` old voxels apart, the first at old index `first`.

    Where `step` is above 1 each value is a mean over so many voxels; ends are continued.

    >>> axis_weights(4, 2, 2.0, 0.5).toarray().tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    width = max(step, 1.0)
    at = first + step * np.arange(made)
    offsets = np.arange(-int(np.ceil(width / 2 + 0.5)), int(np.ceil(width / 2 + 0.5)) + 1)
    index = np.rint(at)[:, None] + offsets
    away = np.abs(index - at[:, None])
    share = np.clip(1 - away, 0, None) if step <= 1 else np.clip((width + 1) / 2 - away, 0, 1)
    share /= share.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(made), len(offsets))
    columns = np.clip(index, 0, count - 1).astype(np.int64).ravel()
    made_array = sparse.coo_array((share.ravel().astype(np.float32), (rows, columns)), shape=(made, count))
    return sparse.csr_array(made_array)


def apply_along(array: Floats, weights: sparse.csr_array, axis: int) -> Floats:
    """Return `array` with `weights` applied along one axis."""
    moved = np.moveaxis(array, axis, 0)
    flat = np.ascontiguousarray(moved, dtype=np.float32).reshape(moved.shape[0], -1)
    out: Floats = np.asarray(weights @ flat, np.float32)
    return np.moveaxis(out.reshape(-1, *moved.shape[1:]), 0, axis)


def resample(array: Floats, shape: Sequence[int], steps: Sequence[float], firsts: Sequence[float]) -> Floats:
    """Return `array` on a lattice of `shape`: `steps` old voxels apart, the first at old indices `firsts`.

    Axes that get coarser most are done first: what follows has less to do.
    """
    for axis in np.argsort([-s for s in steps]):
        if shape[axis] != array.shape[axis] or abs(steps[axis] - 1) > 1e-6 or abs(firsts[axis]) > 1e-6:
            weights = axis_weights(array.shape[axis], shape[axis], steps[axis], firsts[axis])
            array = apply_along(array, weights, int(axis))
    return np.ascontiguousarray(array)
