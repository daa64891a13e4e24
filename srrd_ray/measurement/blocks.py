"""One block of a volume that is measured in blocks:
reads windows of stores, writes a shard and the block's sums. No Ray.

The passes, in order: `extrema` and `histogram` of the smoothed grey values (Otsu), `field` (where the image
was scanned), `phases` (bone, field and region as bits), `distance`, `painting`, `structure`,
then `ridge-distance` and `ridge-painting`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core import serial
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.imaging import block_store
from srrd_ray.morphometry import blocks
from srrd_ray.morphometry.binarize import smooth_one_voxel
from srrd_ray.morphometry.blocks import BONE, FIELD, REGION, Bits, Shape, Window
from srrd_ray.morphometry.field import fill_hulls
from srrd_ray.morphometry.structure import BlockStructure, block_structure, window_with_halo
from srrd_ray.morphometry.tally import Tally
from srrd_ray.morphometry.thickness import Mode
from srrd_ray.storage.atomic import write_text

Pass: TypeAlias = Literal[
    "extrema",
    "histogram",
    "field",
    "phases",
    "distance",
    "painting",
    "structure",
    "ridge-distance",
    "ridge-painting",
]
GAUSSIAN_REACH = 4
"""Voxels that a Gaussian of one voxel reaches (scipy cuts it at four standard deviations)."""
SLAB = 32
"""Planes of the slabs in which the scanned field is found."""
BINS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockJob:
    """A volume to be measured in blocks, and the results of the passes before.

    Parameters
    ----------
    image, roi, root
        OME-Zarr; mask as OME-Zarr or null; folder of the maps, with the intermediate stores in its `work`.
    edge
        Voxels of the edge of a block, a multiple of `structure.BOX`.
    binary
        Every non-zero voxel is bone; else those above `level` after smoothing (`smooth`) or as they are.
    low, high
        Extrema of the smoothed image.
    field
        Whether zeros round the scanned field are left out.
    radii
        Largest squared radius of bone and of marrow, in the unit of the distances.
    mode
        Definition of the thickness, as in `local_thickness`.
    """

    image: Path
    roi: Path | None
    root: Path
    shape: Shape
    spacing_mm: tuple[float, float, float]
    edge: int
    binary: bool
    smooth: bool
    level: float = 0.0
    low: float = 0.0
    high: float = 0.0
    field: bool = False
    radii: tuple[float, float] = (0.0, 0.0)
    mode: Mode = "exact"

    @property
    def work(self) -> Path:
        """Folder of the intermediate files."""
        return self.root / ".work"

    @property
    def maps(self) -> tuple[Path, Path]:
        """The stores of thickness and spacing."""
        return map_paths(self.root)

    def store(self, name: str) -> Path:
        """Return the path of an intermediate store."""
        return self.work / f"{name}.ome.zarr"

    def part(self, name: str, block: str) -> Path:
        """Return the path of the sums of one block."""
        return self.work / "parts" / name / f"{block}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Extrema:
    """Least and greatest smoothed grey value of a block."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """A histogram of smoothed grey values, or the voxels of a field."""

    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseCounts:
    """Voxels of a block: bone and marrow, of the region, and bone of the region."""

    bone: int
    marrow: int
    region: int
    region_bone: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Radii:
    """Largest squared radii of a block."""

    bone: float
    marrow: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Painted:
    """Thickness of bone and of marrow over the region in a block, and its ridge voxels."""

    bone: Tally
    marrow: Tally
    ridge: int = 0


Part: TypeAlias = Extrema | Counts | PhaseCounts | Radii | Painted | BlockStructure


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureBlock:
    """Runs one pass for the block that a work item names; safe to run twice."""

    name: Pass
    job: BlockJob

    def __call__(self, item: WorkItem) -> Produced:
        """Return what was written for the block: its sums and its shards."""
        core = parse_block_name(item.name)
        part, written = _run_pass(self.name, self.job, core)
        path = self.job.part(self.name, item.name)
        write_text(path, serial.to_json(part))
        return Produced(paths=(path, *written))


def map_paths(root: Path) -> tuple[Path, Path]:
    """Return the paths of the maps of thickness and spacing in the folder of a volume."""
    return root / "thickness.ome.zarr", root / "spacing.ome.zarr"


def block_name(core: Window) -> str:
    """Return the name of a block: first and last index along z, y and x."""
    return "_".join(f"{axis.start:06d}-{axis.stop:06d}" for axis in core)


def parse_block_name(name: str) -> Window:
    """Return the window of the block of that name."""
    z, y, x = (slice(*(int(n) for n in axis.split("-"))) for axis in name.split("_"))
    return z, y, x


def iterate_windows(name: Pass, job: BlockJob) -> tuple[Window, ...]:
    """Return the windows that a pass works on: slabs of whole planes for `field`, blocks for all others."""
    if name != "field":
        return blocks.iterate_blocks(job.shape, job.edge)
    nz, ny, nx = job.shape
    return tuple((slice(z, min(z + SLAB, nz)), slice(0, ny), slice(0, nx)) for z in range(0, nz, SLAB))


def _run_pass(name: Pass, job: BlockJob, core: Window) -> tuple[Part, list[Path]]:
    match name:
        case "extrema":
            smooth = _smooth(job, core)
            return Extrema(low=float(smooth.min()), high=float(smooth.max())), []
        case "histogram":
            counts = np.histogram(_smooth(job, core), BINS, (job.low, job.high))[0]
            return Counts(counts=tuple(int(n) for n in counts)), []
        case "field":
            field = fill_hulls(block_store.read_grey(job.image, core))
            return Counts(counts=(int(field.sum()),)), [
                block_store.write_block(job.store("field"), core, field)
            ]
        case "phases":
            return _phases(job, core)
        case "distance" | "ridge-distance":
            return _distance(job, core, "phases" if name == "distance" else "ridge")
        case "painting":
            return _painting(job, core)
        case "ridge-painting":
            return _ridge_painting(job, core)
        case "structure":
            outer = window_with_halo(core, job.shape)
            bits = _bits(job, "phases", outer)
            return block_structure(bits, outer, core, job.shape, job.spacing_mm), []


def _smooth(job: BlockJob, core: Window) -> NDArray[np.float64]:
    """Return the grey values of a block after a Gaussian of one voxel, bit for bit as in the whole image."""
    outer = blocks.add_halo(core, (GAUSSIAN_REACH,) * 3, job.shape)
    return smooth_one_voxel(block_store.read_grey(job.image, outer))[blocks.locate_within(core, outer)]


def _phases(job: BlockJob, core: Window) -> tuple[PhaseCounts, list[Path]]:
    grey = _smooth(job, core) if job.smooth else block_store.read_grey(job.image, core)
    bone = grey != 0 if job.binary else grey > job.level
    field = _mask(job.store("field") if job.field else None, core)
    region = field if job.roi is None else _mask(job.roi, core)
    bits = np.asarray(bone * BONE + field * FIELD + region * REGION, dtype=np.uint8)
    counts = PhaseCounts(
        bone=int(bone.sum()),
        marrow=int((~bone).sum()),
        region=int(region.sum()),
        region_bone=int((region & bone).sum()),
    )
    return counts, [block_store.write_block(job.store("phases"), core, bits)]


def _mask(path: Path | None, core: Window) -> NDArray[np.bool_]:
    """Return where the mask at `path` is not zero, everywhere where there is none."""
    z, y, x = (axis.stop - axis.start for axis in core)
    return np.ones((z, y, x), dtype=np.bool_) if path is None else block_store.read_grey(path, core) != 0


def _bits(job: BlockJob, store: str, window: Window) -> Bits:
    return block_store.read_block(job.store(store), window).astype(np.uint8, copy=False)


def _read_distances(job: BlockJob, store: str, window: Window) -> blocks.Signed:
    return block_store.read_block(job.store(store), window)  # type: ignore[return-value]  # as it was written


def _distance(job: BlockJob, core: Window, of: str) -> tuple[Radii, list[Path]]:
    signed = blocks.block_distances(lambda window: _bits(job, of, window), core, job.shape, job.spacing_mm)
    bone, marrow = blocks.largest_squared_radii(signed)
    return Radii(bone=bone, marrow=marrow), [
        block_store.write_block(job.store(f"{of}-distance"), core, signed)
    ]


def _painting(job: BlockJob, core: Window) -> tuple[Painted, list[Path]]:
    bits = _bits(job, "phases", core)
    region, bone = (bits & REGION) != 0, (bits & BONE) != 0
    thickness = _thickness(job, core, "phases-distance", "bone") * bone
    spacing = _thickness(job, core, "phases-distance", "marrow") * ~bone
    signed = _read_distances(job, "phases-distance", core)
    ridge = blocks.ridge_of_block(signed, thickness, job.spacing_mm)
    ridge |= bone & ((bits & FIELD) == 0)
    painted = Painted(
        bone=Tally.from_values(thickness[region & bone]),
        marrow=Tally.from_values(spacing[region & ~bone]),
        ridge=int(ridge.sum()),
    )
    ridged = np.asarray((bits & (FIELD | REGION)) + ridge * BONE, dtype=np.uint8)
    return painted, [
        block_store.write_block(job.store("ridge"), core, ridged),
        block_store.write_block(job.maps[0], core, thickness),
        block_store.write_block(job.maps[1], core, spacing),
    ]


def _ridge_painting(job: BlockJob, core: Window) -> tuple[Painted, list[Path]]:
    bits = _bits(job, "ridge", core)
    between = _thickness(replace(job, mode="exact"), core, "ridge-distance", "marrow")
    used = ((bits & REGION) != 0) & ((bits & BONE) == 0)
    return Painted(bone=Tally(), marrow=Tally.from_values(between[used])), []


def _thickness(job: BlockJob, core: Window, store: str, phase: blocks.Phase) -> blocks.Map:
    radius = float(np.sqrt(job.radii[0 if phase == "bone" else 1]))
    beyond = job.mode == "bonej"
    wanted = blocks.add_halo(core, blocks.TRIM, job.shape) if beyond else core
    outer = blocks.add_halo(wanted, blocks.halo_voxels(radius, job.spacing_mm), job.shape)
    blocks.refuse_large(outer, job.spacing_mm)
    signed = _read_distances(job, store, outer)
    inner = blocks.locate_within(wanted, outer)
    painted = blocks.block_thickness(signed, inner, job.spacing_mm, phase, beyond=beyond)
    return blocks.trim_painted(painted, core, wanted) if beyond else painted
