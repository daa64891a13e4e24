"""The cubes that a fold may see, as arrays; and how MR intensities become bone fractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DistillationData:
    """Cubes with MR and measured parameters, one row each.

    Parameters
    ----------
    ct, ct_mask
        (n, 16, 32, 32): HU, and whether a voxel is bone.
    mr, mr_mask
        (n, 56, 56, 16): bone fraction (see `bone_fraction`), and whether a voxel is bone.
    ct_spacing_mm
        (n, 3): the voxel (z, y, x) of the CT volume that the cube was cut from, mm.
    targets
        (n, 4): BV/TV, Tb.Th (mm), Tb.Sp (mm), Tb.N (1/mm) measured in MR.
    patients, regions
        (n,): the participant, and ``<side>-<bone>-<compartment>``.

    Raises
    ------
    InputError
        `rows-differ` where the arrays disagree.
    """

    ct: NDArray[np.int16]
    ct_mask: NDArray[np.uint8]
    ct_spacing_mm: NDArray[np.float32]
    mr: NDArray[np.float16]
    mr_mask: NDArray[np.uint8]
    targets: NDArray[np.float32]
    patients: NDArray[np.str_]
    regions: NDArray[np.str_]

    def __post_init__(self) -> None:
        counts = {len(getattr(self, each.name)) for each in fields(self)}
        if len(counts) != 1:
            raise InputError(
                "rows-differ", "arrays of one data set have as many rows", got=str(sorted(counts))
            )

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> DistillationData:
        """Return the rows that `keep` selects."""
        return DistillationData(**{each.name: getattr(self, each.name)[keep] for each in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[DistillationData]) -> DistillationData:
        """Return the rows of all `parts`, in order."""
        names = [each.name for each in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def select_patients(self, patients: set[str]) -> DistillationData:
        """Return the rows of some patients."""
        return self.rows(np.isin(self.patients, sorted(patients)))


def bone_fraction(mr: NDArray[np.floating], mask: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Return 1 - I / I_marrow for cubes (n, z, y, x): marrow is bright and 0, bone is dark and towards 1;
    0 outside the mask.

    I_marrow is the 95th percentile of the cube's own bone region,
    so the scanner's gain and coil profile cancel.
    """
    fraction = np.zeros(mr.shape, dtype=np.float16)
    for row, (image, inside) in enumerate(zip(mr.astype(np.float32), mask > 0, strict=True)):
        if inside.any():
            marrow = max(float(np.percentile(image[inside], 95)), 1e-6)
            fraction[row][inside] = np.clip(1 - image[inside] / marrow, -0.5, 1.5)
    return fraction
