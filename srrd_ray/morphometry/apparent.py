"""Trabeculae of an image that hardly resolves them:
a super-resolved bone fraction, binarized to conserve bone volume.

Thickness and spacing of such bone are *apparent*: they include the blur of the voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.volume import Volume
from srrd_ray.morphometry.maps import BoneMaps, RegionMeasures, bone_maps
from srrd_ray.morphometry.resolve import MorphometryConfig, conserving_level, super_resolve, trabecular_mask

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Apparent:
    """The bone fraction on an isotropic grid, and where it is that of trabecular bone."""

    fraction: Volume[np.float32]
    trabecular: Mask

    def mean_fraction(self, region: Mask) -> float:
        """Return BV/TV: the mean fraction of a region that is not empty, clipped to 0 and 1."""
        return float(np.clip(self.fraction.array[region].mean(dtype=np.float64), 0.0, 1.0))

    def maps(self, region: Mask, threads: int) -> BoneMaps:
        """Return the maps of the bone, binarized so that its volume in
        `region` equals the sum of its fractions.
        """
        level = conserving_level(self.fraction.array, region)
        step = self.fraction.geometry.spacing_mm[0]
        return bone_maps(
            (self.fraction.array > level) & self.trabecular, step, inside=self.trabecular, threads=threads
        )


def super_resolve_trabecular(
    fraction: Volume[np.float32], inside: Mask, config: MorphometryConfig
) -> Apparent:
    """Return a bone fraction and the trabecular part of `inside` on the grid of `config.target_mm`."""
    kept = Volume(
        array=trabecular_mask(fraction, inside, config).astype(np.float32), geometry=fraction.geometry
    )
    fine = super_resolve(fraction, config.target_mm)
    return Apparent(fraction=fine, trabecular=super_resolve(kept, config.target_mm).array > 0.5)


def apparent_measures(
    bvtv: float, measures: RegionMeasures, config: MorphometryConfig
) -> tuple[float, float | None, float | None]:
    """Return BV/TV, Tb.Th and Tb.Sp (mm) of a region; see `MorphometryConfig.thickness`."""
    if measures.thickness is None or measures.separation is None:
        return bvtv, None, measures.separation.mean if measures.separation else None
    thickness, separation = measures.thickness.mean, measures.separation.mean
    return bvtv, bvtv * (thickness + separation) if config.thickness == "derived" else thickness, separation
