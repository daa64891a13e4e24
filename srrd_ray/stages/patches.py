"""The cubes of a few knees, cut from CT and MR and written as one shard.

One bad knee never stops the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Fault, Knee, Outcome, Patch, Status
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.patches import PatchConfig, SubchondralPoint, cut_ct, cut_mr, place_cubes, subchondral_points
from srrd_ray.patches.sampling import MR_SHAPE, contains_grid, mr_grid
from srrd_ray.stages.shared.poses import accepted_pose
from srrd_ray.storage import omezarr, patch_store
from srrd_ray.storage.layout import RunLayout

Arrays: TypeAlias = dict[str, NDArray[np.generic]]

NAME = "patches"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KneeCubes:
    """The rows of one knee, and how many candidate cubes were excluded (or have no MR) and why."""

    points: tuple[SubchondralPoint, ...]
    arrays: Arrays
    outside_volume: int
    outside_bone: int
    without_mr: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairedMr:
    """The MR of a knee, the CT -> MR transforms of its registered bones, its scale."""

    volume: Volume[np.generic]
    transforms: dict[BoneName, NDArray[np.float64]]
    scale: float

    @classmethod
    def of(cls, volume: Volume[np.generic], transforms: dict[BoneName, NDArray[np.float64]]) -> PairedMr:
        """Return the MR with its 99.5th percentile as scale."""
        scale = max(float(np.percentile(volume.array[:, ::4, ::4].astype(np.float32), 99.5)), 1e-6)
        return cls(volume=volume, transforms=transforms, scale=scale)

    def sees(self, point: SubchondralPoint) -> bool:
        """Return whether the cube at `point` lies inside the MR's field of view."""
        to_mr = self.transforms.get(point.bone)
        return to_mr is not None and contains_grid(self.volume, mr_grid(point.center_lps_mm), to_mr)


def plan_shards(knees: Sequence[Knee], knees_per_shard: int) -> dict[str, tuple[Knee, ...]]:
    """Return the knees of each shard of a cohort by its name.

    They are in order of their keys, `knees_per_shard` a shard.
    """
    ordered = sorted(knees)
    starts = range(0, len(ordered), knees_per_shard)
    return {
        f"shard-{n:05d}": tuple(ordered[start : start + knees_per_shard]) for n, start in enumerate(starts)
    }


def write_shard(path: Path, knees: Sequence[Knee], layout: RunLayout, config: PatchConfig) -> list[Outcome]:
    """Return one outcome a knee, after writing the shard `path` of those that could be cut.

    A knee without CT is skipped; one that fails (e.g. `patches-none`, `bone-missing`) is left out. The shard
    is written even where it is empty, so that its absence always means that it was not made.
    """
    cut: list[tuple[Knee, KneeCubes]] = []
    outcomes = []
    for knee in knees:
        started, error = perf_counter(), None
        if not layout.volume(knee, "ct").exists():
            outcomes.append(Outcome(knee=knee, stage=NAME, status="skipped", seconds=0.0))
            continue
        try:
            cut.append((knee, cut_knee(knee, layout, config)))
        except Exception as failure:  # this knee's outcome; the others go on
            error = Fault.from_error(failure)
        status: Status = "failed" if error else "done"
        outcomes.append(
            Outcome(knee=knee, stage=NAME, status=status, seconds=perf_counter() - started, error=error)
        )
    _write(path, cut)
    return outcomes


def cut_knee(knee: Knee, layout: RunLayout, config: PatchConfig) -> KneeCubes:
    """Return the cubes of one knee from its stored volumes, as `cut_cubes` has them.

    A cube has no MR where there is none, where the registration of its bone was refused, or where it leaves
    the MR's field of view.

    Raises
    ------
    InputError
        `patches-none` where no cube lies inside volume and bone; `bone-missing`.
    """
    ct = omezarr.read_volume(layout.volume(knee, "ct"))
    stored = omezarr.read_volume(layout.volume(knee, "ct_bones"))
    bones = Volume(array=stored.array.astype(np.uint8, copy=False), geometry=stored.geometry)
    return cut_cubes(knee, ct, bones, _paired(knee, layout), config)


def cut_cubes(
    knee: Knee, ct: Volume[np.generic], bones: Volume[np.uint8], paired: PairedMr, config: PatchConfig
) -> KneeCubes:
    """Return the cubes of one knee; in each region those also in MR come first.

    Arrays (one row a cube): `ct` int16 HU, `ct_mask` and `mr_mask` uint8, `mr` float16 in units of
    `mr_scale`, `has_mr`, `ct_spacing_mm` (the CT's own voxel, z y x).

    Raises
    ------
    InputError
        `patches-none`, `bone-missing`.
    """
    points = sorted(subchondral_points(bones, knee.side, config), key=lambda point: not paired.sees(point))
    placement = place_cubes(ct, bones, tuple(points), config)
    if not placement.kept:
        seen = f"{placement.outside_volume} outside the volume, {placement.outside_bone} outside the bone"
        raise InputError("patches-none", "no cube fits into the subchondral bone", where=knee.key, got=seen)
    arrays = _ct_rows(ct, bones, placement.kept) | _mr_rows(paired, bones, placement.kept)
    return KneeCubes(
        points=placement.kept,
        arrays=arrays,
        outside_volume=placement.outside_volume,
        outside_bone=placement.outside_bone,
        without_mr=int((~arrays["has_mr"].astype(bool)).sum()),
    )


def _ct_rows(ct: Volume[np.generic], bones: Volume[np.uint8], points: Sequence[SubchondralPoint]) -> Arrays:
    cubes = [cut_ct(ct, bones, point) for point in points]
    hu = np.stack([cube.image for cube in cubes])
    return {
        "ct": np.rint(hu).clip(-32768, 32767).astype(np.int16),
        "ct_mask": np.stack([cube.mask for cube in cubes]).astype(np.uint8),
        "ct_spacing_mm": np.tile(np.array(ct.geometry.spacing_mm, dtype=np.float32), (len(points), 1)),
    }


def _mr_rows(paired: PairedMr, bones: Volume[np.uint8], points: Sequence[SubchondralPoint]) -> Arrays:
    count = len(points)
    has_mr = np.array([paired.sees(point) for point in points], dtype=np.bool_)
    rows: Arrays = {
        "mr": np.zeros((count, *MR_SHAPE), dtype=np.float16),
        "mr_mask": np.zeros((count, *MR_SHAPE), dtype=np.uint8),
        "mr_scale": np.full(count, paired.scale, dtype=np.float32),
        "has_mr": has_mr,
    }
    for row in np.flatnonzero(has_mr).tolist():
        cube = cut_mr(paired.volume, paired.transforms[points[row].bone], bones, points[row])
        rows["mr"][row] = (cube.image / paired.scale).clip(-60000, 60000)
        rows["mr_mask"][row] = cube.mask
    return rows


def _paired(knee: Knee, layout: RunLayout) -> PairedMr:
    """Return the MR of a knee with its accepted transforms; without any, an empty one that sees nothing."""
    path = layout.volume(knee, "mr")
    transforms = dict(_accepted(knee, layout)) if path.exists() else {}
    if not transforms:
        nothing = Volume(
            array=np.zeros((1, 1, 1), dtype=np.float32), geometry=Geometry.axis_aligned((1, 1, 1), (1, 1, 1))
        )
        return PairedMr(volume=nothing, transforms={}, scale=1.0)
    return PairedMr.of(omezarr.read_volume(path), transforms)


def _accepted(knee: Knee, layout: RunLayout) -> Iterator[tuple[BoneName, NDArray[np.float64]]]:
    """Yield the CT -> MR transforms whose registration was accepted."""
    for bone in BONES:
        pose = accepted_pose(layout, knee, bone)
        if pose is not None:
            yield bone, pose


def _write(path: Path, cut: Sequence[tuple[Knee, KneeCubes]]) -> None:
    patches = patches_of(path, [(knee, point) for knee, cubes in cut for point in cubes.points])
    names = sorted(cut[0][1].arrays) if cut else ["has_mr"]
    empty: Arrays = {"has_mr": np.zeros(0, dtype=np.bool_)}
    arrays = (
        {name: np.concatenate([cubes.arrays[name] for _, cubes in cut]) for name in names} if cut else empty
    )
    counts = {
        "outside_volume": sum(cubes.outside_volume for _, cubes in cut),
        "outside_bone": sum(cubes.outside_bone for _, cubes in cut),
        "without_mr": sum(cubes.without_mr for _, cubes in cut),
    }
    patch_store.write_shard(path, arrays, patches, counts)


def patches_of(path: Path, places: Sequence[tuple[Knee, SubchondralPoint]]) -> list[Patch]:
    """Return the index of a shard at `path`, a row a place."""
    return [
        Patch(
            store=path,
            row=row,
            knee=knee,
            bone=point.bone,
            compartment=point.compartment,
            center_lps_mm=point.center_lps_mm,
            depth_mm=point.depth_mm,
        )
        for row, (knee, point) in enumerate(places)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchesSettings:
    """Where cubes are cut, and how many knees share a shard."""

    patches: PatchConfig


def cut_patches(work: Work[PatchesSettings]) -> Produced:
    """Cut the cubes of the knees of a shard that remain, and write the shard."""
    shard = work.layout.shard_named(work.item.name)
    outcomes = write_shard(shard, work.item.knees, work.layout, work.settings.patches)
    failed = tuple(outcome for outcome in outcomes if outcome.status == "failed")
    return Produced(paths=(shard, shard.with_suffix(".parquet")), failed=failed)


STAGE = Stage(
    name=NAME,
    scope="shard",
    function=cut_patches,
    settings=PatchesSettings,
    needs=("ingest", "register"),
    outputs=("patches",),
)
