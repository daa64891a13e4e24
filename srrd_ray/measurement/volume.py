"""A volume of any size, measured in halo blocks through Ray.

The numbers are the same as in one piece, with a few blocks in memory. The passes follow each other; within
one, blocks are done in any order on any node. A block that is done is not done again: the same command after
a crash goes on where it stopped. Maps are OME-Zarr, one writer a shard.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from srrd_ray.core import serial
from srrd_ray.core.errors import ERRORS, InputError, SrrdError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import Fault
from srrd_ray.execution.executor import Executor, PlainLoop
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.sidecars import input_hash
from srrd_ray.execution.work import Task, WorkItem
from srrd_ray.imaging import block_store
from srrd_ray.imaging.foreign_zarr import UNLIMITED_GIB, open_image
from srrd_ray.imaging.images import read_header
from srrd_ray.imaging.masks import describe_grid, doubt_mask, require_label, same_lattice
from srrd_ray.imaging.nrrd_writer import write_nrrd
from srrd_ray.imaging.source import Note, ReadRules
from srrd_ray.measurement.blocks import (
    SLAB,
    BlockJob,
    Counts,
    Extrema,
    MeasureBlock,
    Painted,
    Pass,
    PhaseCounts,
    Radii,
    Scanned,
    block_name,
    iterate_windows,
    map_paths,
)
from srrd_ray.measurement.cut import Cut, Values, choose_cut, merge_values
from srrd_ray.measurement.doubts import Doubt, doubt_region
from srrd_ray.measurement.image import grid_with_spacing, nominal
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import Binarization, describe_binarization
from srrd_ray.morphometry.binarize import otsu_from_histogram
from srrd_ray.morphometry.field import is_set_off, leaves_out, padding_of
from srrd_ray.morphometry.maps import RegionStatus
from srrd_ray.morphometry.measures import BoneMeasures
from srrd_ray.morphometry.structure import BlockStructure, with_structure
from srrd_ray.morphometry.tally import Tally, merge
from srrd_ray.storage.layout import RunLayout

log = logging.getLogger(__name__)

DEFAULT = Recipe()
ANY_SIZE = ReadRules(max_gib=UNLIMITED_GIB, not_a_knee="flag")
PartT = TypeVar("PartT", Scanned, Extrema, Counts, PhaseCounts, Radii, Painted, BlockStructure)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was measured, with the thickness of bone and marrow over the region.

    Also how bone was separated from marrow, the folder of the maps, and what is doubtful.
    """

    measures: BoneMeasures
    bone: Tally
    marrow: Tally
    binarization: Binarization
    grid: Geometry
    root: Path
    notes: tuple[Note, ...] = ()

    @property
    def maps(self) -> tuple[Path, Path]:
        """The stores of thickness and spacing."""
        return map_paths(self.root)

    @property
    def tallies(self) -> tuple[Tally, Tally]:
        """The thickness of bone and of marrow over the region."""
        return self.bone, self.marrow


def measure_volume(
    image: Path,
    root: Path,
    *,
    recipe: Recipe = DEFAULT,
    roi: Path | None = None,
    edge: int = 256,
    structure: bool = True,
    executor: Executor | None = None,
) -> Measured:
    """Return the measures of an OME-Zarr volume.

    Its maps are in ``root/thickness.ome.zarr`` and ``root/spacing.ome.zarr``.

    Parameters
    ----------
    image, roi
        Both OME-Zarr, on one grid.
    recipe
        Threshold, mode, label and voxel size count.
    edge
        Voxels of the edge of a block, a multiple of 32.
    structure
        Also measure surface, topology, anisotropy and box counts; they cost more than the thickness.
    executor
        Null for a plain loop in this process: the reference that the cluster has to equal.

    Raises
    ------
    InputError
        What is wrong with the image or the mask; `blocks-failed` with what stopped a block, e.g.
        `block-too-large`.
    SrrdError
        `blocks-failed`, of the class of what stopped a block: `StoreError`, `ClusterError`.
    """
    array, grid = open_image(image)
    header = read_header(image, rules=ANY_SIZE)
    if roi is not None:
        _same_grid(roi, grid)
    z, y, x = array.shape[-3:]
    ends, known = block_store.read_ends(image)
    grid, notes = grid_with_spacing(grid, header.notes, recipe)
    notes += () if roi is None else doubt_mask(roi, ANY_SIZE, of_image=header.notes)
    start = BlockJob(
        image=image.resolve(), roi=roi.resolve() if roi else None, root=root.resolve(), shape=(z, y, x),
        spacing_mm=nominal(grid.spacing_mm), edge=edge, binary=False, smooth=False, mode=recipe.mode,
        padding=padding_of(ends, known), roi_label=recipe.roi_label,
    )  # fmt: skip
    with locked(start.root), Runner(executor=executor or PlainLoop()) as runner:
        volume = _Volume(
            job=start, recipe=recipe, grid=grid, notes=notes, inputs=_inputs(image, roi), runner=runner
        )
        return volume.measured(structure=structure)


def write_nrrds(found: Measured) -> None:
    """Write the maps once more as NRRD, which opens in 3D Slicer, a row of blocks at a time."""
    for path in found.maps:
        nz, ny, nx = found.grid.shape
        windows = ((slice(z, min(z + SLAB, nz)), slice(0, ny), slice(0, nx)) for z in range(0, nz, SLAB))
        slabs = (block_store.read_block(path, window).astype(np.float32, copy=False) for window in windows)
        write_nrrd(found.root / f"{path.name.split('.')[0]}.nrrd", found.grid, slabs)


def clean(root: Path) -> None:
    """Remove what was only needed on the way; the maps stay."""
    shutil.rmtree(root / ".work", ignore_errors=True)
    shutil.rmtree(root / ".state", ignore_errors=True)


def _inputs(image: Path, roi: Path | None) -> str:
    return hash_json([block_store.hash_listing(p) if p is not None else "" for p in (image, roi)])


def _same_grid(roi: Path, grid: Geometry) -> None:
    _, found = open_image(roi)
    if not same_lattice(found, grid):
        raise InputError(
            "mask-grid", "the mask lies on another grid than its image", where=roi.name,
            got=describe_grid(found), expected=describe_grid(grid),
            todo="In blocks a mask has the order of axes and the field of view of its image.",
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Volume:
    """A volume on its way through the passes."""

    job: BlockJob
    recipe: Recipe
    grid: Geometry
    notes: tuple[Note, ...]
    inputs: str
    runner: Runner

    def measured(self, *, structure: bool) -> Measured:
        """Return the measures, all passes done."""
        parts = self._scanned()
        values = merge_values(part.values for part in parts if part.values is not None)
        cut, doubts = choose_cut(self.recipe.threshold, values, self.job.image.name)
        doubt = Doubt(
            where=self.job.image.name, grid=self.grid, recipe=self.recipe, guessed=cut.smooth,
            notes=self.notes,
        )  # fmt: skip
        doubts += doubt.image()
        job = self._with_level(self._with_field(cut, values, parts))
        self._create_stores(job)
        counts = self._parts("phases", job, PhaseCounts)
        doubts += doubt_region(sum(c.region_scanned for c in counts), sum(c.region for c in counts))
        found = self._measures(counts, job, cut, structure=structure)
        return replace(found, notes=(*self.notes, *doubts, *doubt.measures(found.measures)))

    def _measures(
        self, counts: Sequence[PhaseCounts], job: BlockJob, cut: Cut, *, structure: bool
    ) -> Measured:
        basic = self._basic(counts, job)
        if basic.status == "empty-roi":
            return self._result(basic, (Tally(), Tally()), job, cut)
        bone, marrow = Tally(), Tally()
        if sum(c.bone for c in counts) and sum(c.marrow for c in counts):
            job, bone, marrow, ridge = self._painted(job)
            between = self._between_ridges(job) if basic.status == "ok" and ridge else Tally()
            basic = _with_thickness(basic, bone, marrow, between)
        else:
            self._empty_maps(job)
        if structure:
            basic = with_structure(basic, self._parts("structure", job, BlockStructure), job.shape)
        return self._result(basic, (bone, marrow), job, cut)

    def _result(self, found: BoneMeasures, tallies: tuple[Tally, Tally], job: BlockJob, cut: Cut) -> Measured:
        padding = job.padding if job.field else None
        binarization = describe_binarization(cut, job.level, padding, job.unscanned)
        return Measured(
            measures=found, bone=tallies[0], marrow=tallies[1], binarization=binarization, grid=self.grid,
            root=job.root,
        )  # fmt: skip

    def _scanned(self) -> list[Scanned]:
        """Return what the slabs hold, after the labels of the mask were looked at."""
        job = self.job
        _, ny, nx = job.shape
        block_store.create_store(job.store("field"), self.grid, "<u1", (SLAB, ny, nx), "field")
        parts = self._parts("field", job, Scanned)
        if job.roi is not None:
            labels = np.unique([label for part in parts for label in part.labels])
            require_label(labels, job.roi.name, job.roi_label)
        return parts

    def _with_field(self, cut: Cut, values: Values, parts: Sequence[Scanned]) -> BlockJob:
        """Return the job with its cut, what was not scanned, and whether there is a scanned field."""
        inside, known = sum(part.inside for part in parts), sum(part.known for part in parts)
        apart = values.rest is not None and is_set_off(self.job.padding, *values.rest)
        return replace(
            self.job,
            binary=cut.binary,
            smooth=cut.smooth,
            level=cut.level or 0.0,
            field=not cut.binary and apart and leaves_out(inside, known),
            unscanned=int(np.prod(self.job.shape)) - known,
        )

    def _with_level(self, job: BlockJob) -> BlockJob:
        """Return the job with the threshold of Otsu, from a histogram that is summed over blocks."""
        if not job.smooth:
            return job
        parts = self._parts("extrema", job, Extrema)
        lows, highs = (
            [e for e in ends if e is not None] for ends in zip(*((p.low, p.high) for p in parts), strict=True)
        )
        if not lows:
            raise InputError("region-not-scanned", "the region lies outside what was scanned")
        job = replace(job, low=min(lows), high=max(highs))
        if job.low == job.high:
            raise InputError("image-constant", "every voxel has one value", got=str(job.low))
        counts = np.sum([p.counts for p in self._parts("histogram", job, Counts)], axis=0)
        return replace(job, level=otsu_from_histogram(counts, job.low, job.high))

    def _create_stores(self, job: BlockJob) -> None:
        block, dtype = (job.edge,) * 3, "<i4" if len(set(job.spacing_mm)) == 1 else "<f8"
        stores = {"phases": "<u1", "ridge": "<u1", "phases-distance": dtype, "ridge-distance": dtype}
        for name, kind in stores.items():
            block_store.create_store(job.store(name), self.grid, kind, block, name)
        self._create_maps(job)

    def _create_maps(self, job: BlockJob) -> None:
        for path in job.maps:
            block_store.create_store(path, self.grid, "<f4", (job.edge,) * 3, path.name.split(".")[0])

    def _empty_maps(self, job: BlockJob) -> None:
        """Leave maps of nothing but zeros: without a wall there is no thickness."""
        for path in job.maps:
            shutil.rmtree(path)
        self._create_maps(job)

    def _basic(self, counts: Sequence[PhaseCounts], job: BlockJob) -> BoneMeasures:
        region, bone = sum(c.region for c in counts), sum(c.region_bone for c in counts)
        return BoneMeasures(
            status=_status(region, bone),
            n_voxels=region,
            coverage=region / int(np.prod(job.shape)),
            spacing_mm=job.spacing_mm,
            border="open",
            mode=job.mode,
            bvtv=bone / region if region else None,
        )

    def _painted(self, job: BlockJob) -> tuple[BlockJob, Tally, Tally, int]:
        radii = self._parts("distance", job, Radii)
        job = replace(job, radii=(max(r.bone for r in radii), max(r.marrow for r in radii)))
        parts = self._parts("painting", job, Painted)
        return job, merge(p.bone for p in parts), merge(p.marrow for p in parts), sum(p.ridge for p in parts)

    def _between_ridges(self, job: BlockJob) -> Tally:
        radii = self._parts("ridge-distance", job, Radii)
        job = replace(job, radii=(0.0, max(r.marrow for r in radii)))
        return merge(p.marrow for p in self._parts("ridge-painting", job, Painted))

    def _parts(self, name: Pass, job: BlockJob, kind: type[PartT]) -> list[PartT]:
        """Return the sums of all blocks of a pass, after doing those that are not done."""
        hashed = input_hash(name, serial.to_json(job), [self.inputs])
        items = [WorkItem(name=block_name(core), input_hash=hashed) for core in iterate_windows(name, job)]
        function = MeasureBlock(name=name, job=job)
        task = Task(
            stage=name,
            layout=RunLayout(root=job.root),
            function=function,
            shared_storage_probe=job.root / LOCK,
        )
        for number, (_, result, skipped) in enumerate(self.runner.run_items(task, items), start=1):
            for outcome in result.outcomes:
                if outcome.error is not None:
                    raise _failure(name, outcome.error)
            if not skipped and number % max(len(items) // 8, 1) == 0:
                log.info("measure  %-14s  %d of %d blocks", name, number, len(items))
        texts = (job.part(name, item.name).read_text(encoding="utf-8") for item in items)
        return [serial.from_json(kind, text) for text in texts]


def _status(region: int, bone: int) -> RegionStatus:
    """Return the status of a region of so many voxels, of which so many are bone."""
    if not region:
        return "empty-roi"
    if not bone:
        return "no-bone"
    return "all-bone" if bone == region else "ok"


def _failure(name: Pass, fault: Fault) -> SrrdError:
    return ERRORS[fault.kind](
        "blocks-failed", f"pass {name} of a block failed: {fault.message}",
        todo="Mend the cause and run the same command again: finished blocks are kept.",
    )  # fmt: skip


def _with_thickness(about: BoneMeasures, bone: Tally, marrow: Tally, between: Tally) -> BoneMeasures:
    th, sp, ridges = bone.spread, marrow.spread, between.spread
    if th is not None:
        about = replace(about, tb_th_mm=th.mean, tb_th_sd_mm=th.sd, tb_th_max_mm=th.max)
        about = replace(about, tb_n_per_mm=about.bvtv / th.mean if about.bvtv else None)
    if sp is not None:
        about = replace(about, tb_sp_mm=sp.mean, tb_sp_sd_mm=sp.sd, tb_sp_max_mm=sp.max)
    if th is not None and sp is not None:
        about = replace(about, tb_n_spacing_per_mm=1.0 / (th.mean + sp.mean))
    return replace(about, tb_n_ridge_per_mm=1.0 / ridges.mean) if ridges else about
