"""One block of a volume that is measured in blocks:
reads windows of stores, writes a shard and the block's sums. No Ray.

The passes, in order: `field` (where the image was scanned, and which values occur), `extrema` and `histogram`
of the smoothed grey values there (Otsu), `phases` (bone, field and region as bits), `distance`, `painting`,
`structure`, then `ridge-distance` and `ridge-painting`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core import serial
from srrd_ray.core.scanned import fill_hulls
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.imaging import block_store
from srrd_ray.imaging.masks import find_labels
from srrd_ray.measurement.cut import Values, find_values
from srrd_ray.morphometry import blocks
from srrd_ray.morphometry.binarize import smooth_one_voxel, smooth_within
from srrd_ray.morphometry.blocks import BONE, FIELD, REGION, Bits, Shape, Window
from srrd_ray.morphometry.structure import BlockStructure, block_structure, window_with_halo
from srrd_ray.morphometry.tally import Tally
from srrd_ray.morphometry.thickness import Mode
from srrd_ray.storage.atomic import write_text

Pass: TypeAlias = Literal[
    "field",
    "extrema",
    "histogram",
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
AROUND, KNOWN = 1, 2
"""Bits of the store of the field: what lies within the hulls, and what the image itself calls scanned."""
LABELS = 4
"""Labels of a mask that a slab tells of, more than a mask may have; of a named one, that alone."""


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
    padding, field
        What the scanner wrote where it did not scan, and whether that is left out.
    unscanned
        Voxels of which the image itself says that they were not scanned (`block_store.read_scanned`).
    roi_label
        As in `Recipe`.
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
    padding: float = 0.0
    field: bool = False
    unscanned: int = 0
    roi_label: int | None = None
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
class Scanned:
    """Voxels of a slab that are known to be scanned, and those of the field among them; the values that occur
    there, null where there is none; and up to `LABELS` of its mask.
    """

    known: int
    inside: int
    values: Values | None
    labels: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Extrema:
    """Least and greatest smoothed grey value of the region in a block; null where it holds nothing of it."""

    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """A histogram of the smoothed grey values of the region in a block."""

    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseCounts:
    """Voxels of a block: bone and marrow, of the region, and of that bone, and those that were scanned."""

    bone: int
    marrow: int
    region: int
    region_bone: int
    region_scanned: int


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


Part: TypeAlias = Scanned | Extrema | Counts | PhaseCounts | Radii | Painted | BlockStructure


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
        case "field":
            return _field(job, core)
        case "extrema":
            grey = _counted(job, core)
            ends = (float(grey.min()), float(grey.max())) if grey.size else (None, None)
            return Extrema(low=ends[0], high=ends[1]), []
        case "histogram":
            counts = np.histogram(_counted(job, core), BINS, (job.low, job.high))[0]
            return Counts(counts=tuple(int(n) for n in counts)), []
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


def _field(job: BlockJob, core: Window) -> tuple[Scanned, list[Path]]:
    image = block_store.read_grey(job.image, core)
    labels = np.empty(0) if job.roi is None else find_labels(block_store.read_grey(job.roi, core))
    labels = labels[:LABELS] if job.roi_label is None else labels[labels == job.roi_label]
    known = block_store.read_scanned(job.image, core)
    everywhere = np.ones(image.shape, dtype=np.bool_)
    known = everywhere if known is None else known
    field = fill_hulls((image != job.padding) & known) & known
    scanned = Scanned(
        known=int(known.sum()),
        inside=int(field.sum()),
        values=find_values(image[known], job.padding) if known.any() else None,
        labels=tuple(float(label) for label in labels),
    )
    bits = np.asarray(field * AROUND + known * KNOWN, dtype=np.uint8)
    return scanned, [block_store.write_block(job.store("field"), core, bits)]


def _counted(job: BlockJob, core: Window) -> NDArray[np.float64]:
    """Return the smoothed grey values of a block that count for the threshold: those of the region."""
    region = _region(job, core)
    return _smooth(job, core)[region & _scanned(job, core)]


def _smooth(job: BlockJob, core: Window) -> NDArray[np.float64]:
    """Return the grey values of a block after a Gaussian of one voxel, bit for bit as in the whole image."""
    outer = blocks.add_halo(core, (GAUSSIAN_REACH,) * 3, job.shape)
    image = block_store.read_grey(job.image, outer)
    smooth = (
        smooth_within(image, _scanned(job, outer)) if job.field or job.unscanned else smooth_one_voxel(image)
    )
    return smooth[blocks.locate_within(core, outer)]


def _phases(job: BlockJob, core: Window) -> tuple[PhaseCounts, list[Path]]:
    grey = _smooth(job, core) if job.smooth else block_store.read_grey(job.image, core)
    field, region = _scanned(job, core), _region(job, core)
    bone = (grey != 0 if job.binary else grey > job.level) & field
    bits = np.asarray(bone * BONE + field * FIELD + region * REGION, dtype=np.uint8)
    counts = PhaseCounts(
        bone=int(bone.sum()),
        marrow=int((~bone & field).sum()),
        region=int(region.sum()),
        region_bone=int((region & bone).sum()),
        region_scanned=int((region & field).sum()),
    )
    return counts, [block_store.write_block(job.store("phases"), core, bits)]


def _scanned(job: BlockJob, core: Window) -> NDArray[np.bool_]:
    """Return where a window was scanned: the field, else what is known, else everywhere."""
    if job.field or job.unscanned:
        return np.asarray((_bits(job, "field", core) & (AROUND if job.field else KNOWN)) != 0)
    z, y, x = (axis.stop - axis.start for axis in core)
    return np.ones((z, y, x), dtype=np.bool_)


def _region(job: BlockJob, core: Window) -> NDArray[np.bool_]:
    """Return what is averaged in a window: the mask, where there is one, else all that was scanned."""
    if job.roi is None:
        return _scanned(job, core)
    values = block_store.read_grey(job.roi, core)
    return np.asarray(values != 0 if job.roi_label is None else values == job.roi_label)


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
    marrow = ~bone & ((bits & FIELD) != 0)
    thickness = _thickness(job, core, "phases-distance", "bone") * bone
    spacing = _thickness(job, core, "phases-distance", "marrow") * marrow
    signed = _read_distances(job, "phases-distance", core)
    ridge = blocks.ridge_of_block(signed, thickness, job.spacing_mm)
    painted = Painted(
        bone=Tally.from_values(thickness[region & bone]),
        marrow=Tally.from_values(spacing[region & marrow]),
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
    used = ((bits & REGION) != 0) & ((bits & FIELD) != 0) & ((bits & BONE) == 0)
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
    return blocks.trim_painted(painted, _scanned(job, wanted), core, wanted) if beyond else painted
