"""Which voxels of a padding value were not scanned, and which are real ones of the same value.

DICOM (PS3.3, C.7.5.1.1.2) pads images to a rectangle, with a value that the image itself does not hold. Files
do not all obey: a value of 0 is declared where zeros lie in marrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.scanned import fill_hulls, is_apart
from srrd_ray.imaging.source import Note, Pixels

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Padding:
    """The voxels that were not scanned, and how many of their value lie between scanned ones.

    Those are padding too where the value is `apart` from the image, else real.
    """

    where: Mask
    inside: int
    apart: bool

    @property
    def doubts(self) -> tuple[Note, ...]:
        """A FLAG where voxels of the padding value lie between scanned ones."""
        if not self.inside:
            return ()
        taken = "left out, no other value is near" if self.apart else "taken as scanned, with their values"
        text = f"{self.inside} voxels of the padding value lie between scanned ones: {taken}"
        return (Note(severity="FLAG", code="dicom-padding-inside", message=text),)


def find_padding(values: Pixels, candidates: Mask, *, real: bool = False) -> Padding:
    """Return what was not scanned of the voxels of a padding value (`candidates`, at least one).

    What lies outside the convex hull, in its plane, of all others was not scanned. What lies inside was not
    either where the value is apart from all others; else, or where images hold it (`real`), it was scanned.
    """
    others = ~candidates
    apart = not real and bool(others.any()) and is_apart(_ends(values, candidates), *_ends(values, others))
    outside = candidates & ~fill_hulls(others)
    inside = int(np.count_nonzero(candidates)) - int(np.count_nonzero(outside))
    return Padding(where=candidates if apart else outside, inside=inside, apart=apart)


def _ends(values: Pixels, mask: Mask) -> tuple[float, float]:
    """Return the extrema of the values in a mask that is not empty, without a copy of them."""
    first = values.flat[mask.argmax()]
    return float(values.min(where=mask, initial=first)), float(values.max(where=mask, initial=first))
