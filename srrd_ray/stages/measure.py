"""Measure: the trabecular parameters of one knee's bone in MR under each of its patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS, BONES
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import COMPARTMENTS, Knee, Patch
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.morphometry.apparent import apparent_measures, super_resolve_trabecular
from srrd_ray.morphometry.maps import region_measures
from srrd_ray.morphometry.marrow import mr_bone_fraction
from srrd_ray.morphometry.paper import paper_measures
from srrd_ray.morphometry.resolve import MorphometryConfig, box_corners, box_mask, window_around
from srrd_ray.stages.shared.poses import accepted_pose
from srrd_ray.storage import omezarr, patch_store
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import write_table

Row = dict[str, str | int | float | None]
Values = tuple[float, float | None, float | None]
"""BV/TV, Tb.Th and Tb.Sp in mm; null where a box holds no bone, or nothing else."""
COLUMNS = (
    "participant", "side", "bone", "compartment", "store", "row",
    *PARAMETERS, "coverage", "method",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A box along the axes of the CT: its centre (x, y, z), LPS mm, and its size (z, y, x), mm."""

    center_lps_mm: tuple[float, float, float]
    size_mm: tuple[float, float, float]


def measure_knee(knee: Knee, layout: RunLayout, shard: Path, config: MorphometryConfig) -> Path:
    """Return the table written for one knee: a row for each of its patches in `shard` that MR shows.

    Columns: participant, side, bone, compartment, store, row, BV/TV, Tb.Th and Tb.Sp (mm), Tb.N (1/mm),
    coverage (share of the patch inside bone and image) and method. A bone whose registration was refused, and
    a patch with less than `min_coverage`, have no row; a parameter without a value (no bone in the patch) is
    null.

    Raises
    ------
    NotEstimableError
        `marrow-unknown` where a bone of the MR gives no marrow reference.
    """
    patches = [patch for patch in patch_store.read_index(shard) if patch.knee == knee]
    rows: list[Row] = []
    if layout.volume(knee, "mr").exists() and layout.volume(knee, "mr_bones").exists():
        mr, labels = (omezarr.read_volume(layout.volume(knee, image)) for image in ("mr", "mr_bones"))
        image = Volume(array=mr.array.astype(np.float32), geometry=mr.geometry)
        for bone in BONES:
            patches_of_bone = [patch for patch in patches if patch.bone == bone]
            to_mr = accepted_pose(layout, knee, bone)
            if patches_of_bone and to_mr is not None:
                rows += _bone_rows(image, labels.array == BONE_LABELS[bone], to_mr, patches_of_bone, config)
    path = layout.part("measures", knee)
    ordered = sorted(rows, key=lambda row: int(row["row"] or 0))
    write_table(
        path,
        pd.DataFrame(ordered, columns=list(COLUMNS)).astype({"row": np.int64, "coverage": np.float64}),
        "morphometry",
    )
    return path


def _bone_rows(
    image: Volume[np.float32],
    inside: NDArray[np.bool_],
    to_mr: NDArray[np.float64],
    patches: Sequence[Patch],
    config: MorphometryConfig,
) -> Iterator[Row]:
    """Yield the rows of one bone: one bone fraction for all of it, one pair of maps for each compartment."""
    fraction = image.array
    if config.method == "marrow":
        fraction = mr_bone_fraction(image.array, inside, image.geometry.spacing_mm)
    for compartment in COMPARTMENTS:
        patches_of_compartment = [patch for patch in patches if patch.compartment == compartment]
        if patches_of_compartment:
            yield from _region_rows(
                Volume(array=fraction, geometry=image.geometry), inside, to_mr, patches_of_compartment, config
            )


def _region_rows(
    fraction: Volume[np.float32],
    inside: NDArray[np.bool_],
    to_mr: NDArray[np.float64],
    patches: Sequence[Patch],
    config: MorphometryConfig,
) -> Iterator[Row]:
    boxes = [Box(center_lps_mm=patch.center_lps_mm, size_mm=config.box_mm) for patch in patches]
    if config.method == "paper":
        near, mask = _near(fraction, inside, to_mr, boxes, config)
        yield from _paper_rows(near, mask, to_mr, patches, config)
        return
    method = f"apparent, marrow reference, {config.thickness} Tb.Th, {config.target_mm:g} mm, open border"
    found = apparent_in_boxes(fraction, inside, to_mr, boxes, config)
    for patch, (values, coverage) in zip(patches, found, strict=True):
        if values is not None:
            yield _row(patch, values, coverage, method)


def _near(
    fraction: Volume[np.float32],
    inside: NDArray[np.bool_],
    to_mr: NDArray[np.float64],
    boxes: Sequence[Box],
    config: MorphometryConfig,
) -> tuple[Volume[np.float32], NDArray[np.bool_]]:
    """Return the image and the bone round some boxes."""
    corners = np.stack([box_corners(box.center_lps_mm, box.size_mm, to_mr) for box in boxes])
    start, shape = window_around(fraction.geometry, corners, config.halo_mm)
    mask = Volume(array=inside, geometry=fraction.geometry).crop(start, shape).array
    return fraction.crop(start, shape), mask


def apparent_in_boxes(
    fraction: Volume[np.float32],
    inside: NDArray[np.bool_],
    to_mr: NDArray[np.float64],
    boxes: Sequence[Box],
    config: MorphometryConfig,
) -> Iterator[tuple[Values | None, float]]:
    """Yield for each box its BV/TV, Tb.Th and Tb.Sp (mm), of one pair of maps, and its coverage.

    The values are null below `min_coverage`.

    Parameters
    ----------
    fraction
        Bone fraction of one bone in MR.
    inside
        That bone, on the same grid.
    to_mr
        From the world of the boxes to that of the MR (4x4).
    """
    near, mask = _near(fraction, inside, to_mr, boxes, config)
    found = super_resolve_trabecular(near, mask, config)
    grid, from_mr = found.fraction.geometry, np.linalg.inv(to_mr)
    rois = [found.trabecular & box_mask(grid, from_mr, box.center_lps_mm, box.size_mm) for box in boxes]
    maps = found.maps(np.logical_or.reduce(rois), config.threads)
    for box, roi in zip(boxes, rois, strict=True):
        coverage = float(np.count_nonzero(roi)) * config.target_mm**3 / float(np.prod(box.size_mm))
        if coverage < config.min_coverage:
            yield None, coverage
        else:
            yield apparent_measures(found.mean_fraction(roi), region_measures(maps, roi), config), coverage


def _paper_rows(
    image: Volume[np.float32],
    inside: NDArray[np.bool_],
    to_mr: NDArray[np.float64],
    patches: Sequence[Patch],
    config: MorphometryConfig,
) -> Iterator[Row]:
    for patch in patches:
        roi = inside & box_mask(image.geometry, np.linalg.inv(to_mr), patch.center_lps_mm, config.box_mm)
        coverage = float(np.count_nonzero(roi)) * image.geometry.voxel_mm3 / float(np.prod(config.box_mm))
        if coverage >= config.min_coverage:
            found = paper_measures(image.array, roi, image.geometry.spacing_mm)
            row = _row(
                patch, (found.bvtv, found.tb_th_mm, found.tb_sp_mm), coverage, "published 2D algorithm"
            )
            yield row | {"Tb.N": found.tb_n_per_mm}


def _row(patch: Patch, values: Values, coverage: float, method: str) -> Row:
    bvtv, thickness, separation = values
    return {
        "participant": patch.knee.participant,
        "side": patch.knee.side,
        "bone": patch.bone,
        "compartment": patch.compartment,
        "store": patch.store.stem,
        "row": patch.row,
        "BV/TV": bvtv,
        "Tb.Th": thickness,
        "Tb.Sp": separation,
        "Tb.N": bvtv / thickness if thickness else None,
        "coverage": min(coverage, 1.0),
        "method": method,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureSettings:
    """How bone is measured in MR."""

    morphometry: MorphometryConfig


def measure(work: Work[MeasureSettings]) -> Produced:
    """Measure the bone of a knee in MR under each of its cubes."""
    layout, knee = work.layout, work.item.knees[0]
    shard = layout.shard_named(work.item.shard)
    return Produced(paths=(measure_knee(knee, layout, shard, work.settings.morphometry),))


STAGE = Stage(
    name="measure",
    scope="knee",
    function=measure,
    settings=MeasureSettings,
    needs=("ingest", "register", "patches"),
    outputs=("tables/parts/measures",),
)
