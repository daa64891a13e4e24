"""Grey values as the network sees them: CT by a fixed window, MR by its own range."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
WINDOW_HU: Final = (-250.0, 1250.0)
PERCENTILES: Final = (0.5, 99.5)


def scale_ct(hu: Floats) -> Floats:
    """Return Hounsfield units scaled to 0…1 over a fixed window, clipped.

    >>> scale_ct(np.array([-1000.0, 500.0, 3000.0], np.float32)).tolist()
    [0.0, 0.5, 1.0]
    """
    low, high = WINDOW_HU
    out: Floats = np.clip((hu - low) / (high - low), 0, 1).astype(np.float32)
    return out


def scale_mr(image: Floats, inside: NDArray[np.bool_] | None = None) -> Floats:
    """Return an MR scaled to 0…1 between its percentiles (of what is `inside`), clipped; 0 if constant."""
    seen = image[::2, ::2, ::2] if inside is None else image[inside][::5]
    if seen.size == 0:
        return np.zeros_like(image)
    low, high = (float(v) for v in np.percentile(seen, PERCENTILES))
    if high - low < 1e-6 * max(abs(high), 1e-3):
        return np.zeros_like(image)
    out: Floats = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
    return out
