"""Trabeculae of an image that hardly resolves them: a bone fraction on an isotropic grid, cut so that it keeps its bone.

Thickness and spacing of such bone are *apparent*: they include the blur of the voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.volume import Volume
from srrd_ray.morphometry.maps import BoneMaps, RegionMeasures, bone_maps
from srrd_ray.morphometry.resolve import MorphometryConfig, conserving_level, super_resolve, trabecular

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Apparent:
    """The bone fraction on an isotropic grid, and where it is that of trabecular bone."""

    fraction: Volume[np.float32]
    seen: Mask

    def share(self, region: Mask) -> float:
        """Return BV/TV: the mean fraction of a region that is not empty, cut to 0 and 1."""
        return float(np.clip(self.fraction.array[region].mean(dtype=np.float64), 0.0, 1.0))

    def maps(self, region: Mask, threads: int) -> BoneMaps:
        """Return the maps of the bone that has in `region` just the volume that its fractions add up to."""
        level = conserving_level(self.fraction.array, region)
        step = self.fraction.geometry.spacing_mm[0]
        return bone_maps((self.fraction.array > level) & self.seen, step, field=self.seen, threads=threads)


def apparent_of(fraction: Volume[np.float32], inside: Mask, config: MorphometryConfig) -> Apparent:
    """Return a bone fraction and the trabecular part of `inside` on the grid of `config.target_mm`."""
    kept = Volume(array=trabecular(fraction, inside, config).astype(np.float32), geometry=fraction.geometry)
    fine = super_resolve(fraction, config.target_mm)
    return Apparent(fraction=fine, seen=super_resolve(kept, config.target_mm).array > 0.5)


def values_of(
    bvtv: float, found: RegionMeasures, config: MorphometryConfig
) -> tuple[float, float | None, float | None]:
    """Return BV/TV, Tb.Th and Tb.Sp (mm) of a region; see `MorphometryConfig.thickness`."""
    if found.thickness is None or found.separation is None:
        return bvtv, None, found.separation.mean if found.separation else None
    thickness, separation = found.thickness.mean, found.separation.mean
    return bvtv, bvtv * (thickness + separation) if config.thickness == "derived" else thickness, separation
