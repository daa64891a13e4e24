"""Thickness and spacing maps of a volume, and their means over regions of it.

One map serves many regions: distances and balls see the whole image, a region only restricts the averaging,
so the mean over a patch is that of the volume it was cut from, and the patch edge is no wall.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.morphometry.thickness import (
    Border,
    Map,
    Mode,
    Spacing,
    Wall,
    local_thickness,
    parse_phase,
    parse_region,
    parse_spacing,
)

Mask: TypeAlias = NDArray[np.bool_]
RegionStatus: TypeAlias = Literal["ok", "no-bone", "all-bone", "empty-roi"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoneMaps:
    """Local thickness of bone and of marrow in one array (mm, float32),
    as every voxel belongs to one of the two.

    `field` is where the image was scanned, `inside` the one bone it is of; null for everywhere.
    """

    bone: Mask
    diameter_mm: Map
    spacing_mm: Spacing
    border: Border
    mode: Mode
    field: Mask | None = None
    surface: Wall = "voxel"
    inside: Mask | None = None

    @property
    def thickness_mm(self) -> Map:
        """Tb.Th map: local thickness in bone, 0 in marrow."""
        return np.where(self.bone, self.diameter_mm, 0)

    @property
    def separation_mm(self) -> Map:
        """Tb.Sp map: local thickness in marrow, 0 in bone."""
        return np.where(self.bone, 0, self.diameter_mm)

    def crop(self, window: tuple[slice, slice, slice]) -> BoneMaps:
        """Return views of the maps in a window;
        `region_measures` of it equal those of the same region of the volume.
        """
        field, inside = (None if mask is None else mask[window] for mask in (self.field, self.inside))
        bone, diameter = self.bone[window], self.diameter_mm[window]
        return replace(self, bone=bone, diameter_mm=diameter, field=field, inside=inside)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Mean, population standard deviation and maximum of local thickness over a region, mm."""

    mean: float
    sd: float
    max: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionMeasures:
    """The measures of one region of the maps.
    `thickness` and `separation` are null where they have no value (`status`).
    """

    status: RegionStatus
    n_voxels: int
    bvtv: float | None
    thickness: Spread | None
    separation: Spread | None

    @property
    def tb_n_per_mm(self) -> float | None:
        """Tb.N of the plate model: (BV/TV)/Tb.Th, 1/mm."""
        return self.bvtv / self.thickness.mean if self.bvtv and self.thickness else None


def bone_maps(
    bone: ArrayLike,
    spacing_mm: float | ArrayLike,
    *,
    border: Border = "open",
    mode: Mode = "exact",
    surface: Wall = "voxel",
    grey: ArrayLike | None = None,
    field: ArrayLike | None = None,
    inside: ArrayLike | None = None,
    threads: int = 1,
) -> BoneMaps:
    """Return the maps of a whole volume (z, y, x);
    arguments as in `local_thickness`, `grey` positive in bone.

    `inside` is one bone with its marrow, in place of `field`: `bone` lies in it, beyond are other tissues.
    Its edge is a wall for bone, whose surface it is, and the end of marrow.
    """
    phase, steps = parse_phase(bone), parse_spacing(spacing_mm)
    scanned, within = (
        None if region is None else parse_region(region, phase.shape) for region in (field, inside)
    )
    walls = (None, None) if grey is None else (np.asarray(grey), np.negative(grey))
    ends = (scanned, scanned if within is None else within)
    diameter, marrow = (
        local_thickness(
            part,
            steps,
            border=border,
            mode=mode,
            surface=surface,
            grey=wall,
            field=end,
            dtype=np.float32,
            threads=threads,
        )
        for part, wall, end in zip((phase, ~phase), walls, ends, strict=True)
    )
    np.copyto(diameter, marrow, where=~phase)
    return BoneMaps(
        bone=phase,
        diameter_mm=diameter,
        spacing_mm=steps,
        border=border,
        mode=mode,
        field=scanned,
        surface=surface,
        inside=within,
    )


def _status(bone: int, total: int) -> RegionStatus:
    if bone == 0:
        return "no-bone"
    return "all-bone" if bone == total else "ok"


def region_measures(maps: BoneMaps, roi: ArrayLike | None = None) -> RegionMeasures:
    """Return BV/TV, Tb.Th and Tb.Sp over `roi`, or over the whole volume.

    What was not scanned is marrow without a separation.
    """
    region = parse_region(roi, maps.bone.shape)
    total = int(np.count_nonzero(region))
    inside = maps.diameter_mm[region & maps.bone]
    if total == 0:
        return RegionMeasures(status="empty-roi", n_voxels=0, bvtv=None, thickness=None, separation=None)
    return RegionMeasures(
        status=_status(inside.size, total),
        n_voxels=total,
        bvtv=inside.size / total,
        thickness=summarize_spread(inside),
        separation=summarize_spread(maps.diameter_mm[_seen(maps, region & ~maps.bone)]),
    )


def _seen(maps: BoneMaps, voxels: Mask) -> Mask:
    return voxels if maps.field is None else voxels & maps.field


def summarize_spread(values: Map) -> Spread | None:
    """Return mean, SD and maximum in double precision; null where there is no value or no wall (infinite)."""
    if values.size == 0 or not np.isfinite(values).all():
        return None
    return Spread(
        mean=float(values.mean(dtype=np.float64)),
        sd=float(values.std(dtype=np.float64)),
        max=float(values.max()),
    )
