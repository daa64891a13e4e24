"""Which label of a simulated knee is which class: for learning alone, inference knows no simulation."""

from __future__ import annotations

from typing import Final

import numpy as np

from srrd_ray.segmentation.classes import BONES, CARTILAGE
from srrd_ray.simulation.labels import LABELS

_CORTEX: Final = ("femoral cortex", "tibial cortex", "fibular cortex", "patellar cortex")


def class_of_label() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return the class of each simulated label: compact bone belongs to its bone, soft tissue to none.

    Examples
    --------
    >>> table = class_of_label()
    >>> print(*(table[LABELS[name]] for name in ("tibia", "tibial cortex", "cartilage", "muscle")))
    2 2 5 0
    """
    table = np.zeros(max(LABELS.values()) + 1, np.uint8)
    for number, (bone, cortex) in enumerate(zip(BONES, _CORTEX, strict=True), start=1):
        table[[LABELS[bone], LABELS[cortex]]] = number
    table[LABELS["cartilage"]] = CARTILAGE
    return table
