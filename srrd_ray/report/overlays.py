"""Slices through a knee: bones on CT, MR brought there by the transforms, parameter maps on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.bones import BONE_LABELS, BONE_OF, BONES, CUT_OFF, BoneName
from srrd_ray.core.geometry import Geometry, Points, Shape, transform_points
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.report.style import canvas, with_unit

Plane: TypeAlias = Literal["coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("coronal", "sagittal")
PIXEL_MM = 0.3
TILE_MM = 6.0
MARGIN_MM = 8.0
STEP_SIGMA = 0.6
"""Of the smoothing that takes the steps off an outline, in voxels of the mask."""
SLICES = 5
MAPS_WIDE, SCALES_TALL = 11.5, 0.6
"""Inches of the picture of maps, and of its scales and titles."""
CT_WINDOW = (-200.0, 1100.0)
LUMP_COLOUR = "#ff5a4f"
"""Of the outline of what was cut off of a bone."""
Slice: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KneeImages:
    """The images of a knee to draw: CT (HU), its bone labels,
    and where there is one the MR with the transform of each bone.

    `synthetic` is the synthetic CT on the MR grid, drawn through the same transforms. Where a lump of a bone
    was cut off its label is `CUT_OFF` more, in `bones` and in `mr_bones`, those of the MR.
    """

    side: Side
    ct: Volume[np.generic]
    bones: Volume[np.uint8]
    mr: Volume[np.generic] | None
    poses: Mapping[BoneName, ArrayLike]
    synthetic: Volume[np.generic] | None = None
    mr_bones: Volume[np.uint8] | None = None


def registration(images: KneeImages) -> Figure:
    """Return a coronal and a sagittal row: CT with bone contours, MR, synthetic CT,
    and CT against MR as a checkerboard; what was cut off of a bone is outlined by dashes.
    """
    panels = ["CT", "MR, through the transforms", "synthetic CT from MR", "CT / MR checkerboard"]
    if images.synthetic is None:
        panels.remove("synthetic CT from MR")
    grids = [plane(images, name) for name in PLANES]
    widest = max(_size_mm(grid)[0] for grid in grids)
    panel = 11.0 / len(panels)
    figure, rows = canvas(
        11.0, sum(panel * _size_mm(grid)[1] / widest for grid in grids) + 0.35, 2, len(panels)
    )
    for row, name, grid in zip(rows, PLANES, grids, strict=True):
        labels = _as_plane(images.bones.resample_onto(grid, order=0))
        for axes, title in zip(row, panels, strict=True):
            _panel(axes, images, grid, title, labels)
            _contours(axes, grid, images.bones)
            if title != "CT" and images.mr_bones is not None:
                _outline(axes, grid, _resample_through(images, _lumps(images.mr_bones), grid, labels))
            axes.set_title(title if name == "coronal" else "", fontsize=9)
        row[0].set_ylabel(name, fontsize=9)
    return figure


def parameter_maps(
    images: KneeImages,
    maps: Mapping[ParameterSymbol, Volume[np.float32]],
    limits: Mapping[ParameterSymbol, tuple[float, float]],
    *,
    grey: bool = False,
) -> Figure:
    """Return each parameter's map (NaN where there is none) over the CT, coronal above sagittal,
    where it holds most; in `grey` where its values are not to be used.
    """
    grids = {view: [_fullest(images, maps[name], view) for name in PARAMETERS] for view in PLANES}
    tall = sum(
        MAPS_WIDE / len(PARAMETERS) * max(high / wide for wide, high in map(_size_mm, row))
        for row in grids.values()
    )
    figure, rows = canvas(MAPS_WIDE, tall + SCALES_TALL, len(PLANES), len(PARAMETERS))
    for column, name in enumerate(PARAMETERS):
        drawn = None
        for row, view in zip(rows, PLANES, strict=True):
            grid = grids[view][column]
            axes = row[column]
            _image(axes, grid, _as_plane(images.ct.resample_onto(grid, fill=-1000)), CT_WINDOW)
            _contours(axes, grid, images.bones)
            values = _as_plane(maps[name].resample_onto(grid, order=0, fill=float("nan")))
            low, high = limits[name]
            drawn = axes.imshow(
                values,
                origin="lower",
                extent=_extent(grid),
                cmap="Greys" if grey else PARAMETER_OF[name].colour_map,
                vmin=low,
                vmax=high,
                alpha=0.8,
            )
            if grey:  # on a grey image
                _outline(axes, grid, np.isfinite(values).astype(np.float32), "white")
            _frame(axes, grid)
            axes.set_title(name if view == "coronal" else "")
        if drawn is not None:
            figure.colorbar(
                drawn,
                ax=[row[column] for row in rows],
                location="bottom",
                shrink=0.85,
                label=with_unit(name),
                extend="both",
            )
    return figure


def bone_slices(images: KneeImages) -> Figure:
    """Return `SLICES` coronal slices of the CT above as many sagittal ones, with outlines of the bones."""
    points = _bone_points(images.bones)
    shares = np.linspace(8, 92, SLICES)
    across: Mapping[Plane, int] = {"coronal": 1, "sagittal": 0}
    grids = {
        view: [_grid(images, view, float(at), points) for at in np.percentile(points[:, axis], shares)]
        for view, axis in across.items()
    }
    tall = sum(11.0 / SLICES * _size_mm(row[0])[1] / _size_mm(row[0])[0] for row in grids.values())
    figure, rows = canvas(11.0, tall + 0.3, len(PLANES), SLICES)
    for row, view in zip(rows, PLANES, strict=True):
        for axes, grid in zip(row, grids[view], strict=True):
            _image(axes, grid, _as_plane(images.ct.resample_onto(grid, fill=-1000)), CT_WINDOW)
            _contours(axes, grid, images.bones)
        row[0].set_ylabel(view, fontsize=9)
    return figure


def plane(images: KneeImages, view: Plane) -> Geometry:
    """Return the slice along LPS axes through the middle of the bones
    (coronal) or of the medial side (sagittal); through what was cut off of a bone where there is any.
    """
    points, cut = _bone_points(images.bones), _lump_points(images)
    if len(cut):
        return _grid(images, view, float(np.median(cut[:, 1 if view == "coronal" else 0])), points)
    x, y = float(np.median(points[:, 0])), float(np.median(points[:, 1]))
    if view == "coronal":
        return _grid(images, view, y, points)
    reach = np.percentile(points[:, 0], 90 if images.side == "R" else 10)
    return _grid(images, view, (x + float(reach)) / 2, points)


def _grid(
    images: KneeImages, view: Plane, position_mm: float, around: Points, margin_mm: float = MARGIN_MM
) -> Geometry:
    """Return the slice at `position_mm`, cut to the points `around`
    and a margin where the CT reaches further.
    """
    corners = images.ct.geometry.corners_lps()
    low = np.maximum(corners.min(axis=0), around.min(axis=0) - margin_mm)
    high = np.minimum(corners.max(axis=0), around.max(axis=0) + margin_mm)
    nx, ny, nz = (np.floor((high - low) / PIXEL_MM).astype(int) + 1).tolist()
    shape: Shape = (nz, 1, nx) if view == "coronal" else (nz, ny, 1)
    low[1 if view == "coronal" else 0] = position_mm
    return Geometry.axis_aligned(shape, (PIXEL_MM,) * 3, low)


def _bone_points(bones: Volume[np.uint8]) -> Points:
    """Return some points (LPS mm) of the bones, everywhere in the volume where there are none."""
    held = np.argwhere(bones.array > 0)
    if held.size == 0:
        return bones.geometry.corners_lps()
    return bones.geometry.index_to_lps(held[:: max(len(held) // 50000, 1)])


def _lumps(labels: Volume[np.uint8]) -> Volume[np.float32]:
    """Return 1 where a lump of a bone was cut off, else 0."""
    return Volume(array=(labels.array > CUT_OFF).astype(np.float32), geometry=labels.geometry)


def _lump_points(images: KneeImages) -> Points:
    """Return points (n, 3) of what was cut off of the bones of the CT and of the MR, LPS mm of the CT."""
    found = [images.bones.geometry.index_to_lps(np.argwhere(images.bones.array > CUT_OFF))]
    for bone, pose in images.poses.items():
        if images.mr_bones is not None:
            cut = np.argwhere(images.mr_bones.array == CUT_OFF + BONE_LABELS[bone])
            to_ct = np.linalg.inv(np.asarray(pose, np.float64))
            found.append(transform_points(to_ct, images.mr_bones.geometry.index_to_lps(cut)))
    return np.concatenate(found)


def _fullest(images: KneeImages, values: Volume[np.float32], view: Plane) -> Geometry:
    held = np.argwhere(np.isfinite(values.array))
    if held.size == 0:
        return plane(images, view)
    points = values.geometry.index_to_lps(held)
    across = points[:, 1 if view == "coronal" else 0]
    counts, edges = np.histogram(across, bins=max(int(np.ptp(across) / 1.0), 1))
    best = int(np.argmax(counts))
    return _grid(images, view, float(edges[best] + edges[best + 1]) / 2, points, 2 * MARGIN_MM)


def _panel(axes: Axes, images: KneeImages, grid: Geometry, title: str, labels: Slice) -> None:
    ct = _as_plane(images.ct.resample_onto(grid, fill=-1000))
    match title:
        case "CT":
            _image(axes, grid, ct, CT_WINDOW)
        case "synthetic CT from MR" if images.synthetic is not None:
            _image(axes, grid, _resample_through(images, images.synthetic, grid, labels), CT_WINDOW)
        case _ if images.mr is not None:
            mr = _resample_through(images, images.mr, grid, labels)
            finite = mr[np.isfinite(mr)]
            window = tuple(np.percentile(finite, [1, 99.7])) if finite.size else (0.0, 1.0)
            _image(axes, grid, _checkerboard(ct, mr, window) if title.startswith("CT /") else mr, window)
        case _:
            axes.text(0.5, 0.5, "no MR", ha="center", transform=axes.transAxes)
            _image(axes, grid, np.full_like(ct, np.nan), CT_WINDOW)


def _resample_through(images: KneeImages, moving: Volume[np.generic], grid: Geometry, labels: Slice) -> Slice:
    """Return `moving` on the slice, each pixel through the transform of the nearer bone.

    It is NaN outside the field of view of `moving`.
    """
    nearest = _nearest_bone(labels)
    out = np.full(labels.shape, np.nan, dtype=np.float32)
    for bone, pose in images.poses.items():
        mapped = _as_plane(moving.resample_onto(grid, pose, fill=float("nan")))
        mine = nearest == BONES.index(bone)
        out[mine] = mapped[mine]
    return out


def _nearest_bone(labels: Slice) -> NDArray[np.intp]:
    """Return for each pixel the index in `BONES` of the nearest bone.

    A bone outside of the slice is nearest to no pixel.
    """
    there = [labels == label for label in BONE_LABELS.values()]
    far = np.full(labels.shape, np.inf)
    distances = [ndimage.distance_transform_edt(~mask) if mask.any() else far for mask in there]
    nearest: NDArray[np.intp] = np.argmin(distances, axis=0)
    return nearest


def _checkerboard(ct: Slice, mr: Slice, window: tuple[float, float]) -> Slice:
    """Return tiles of CT and MR in turn, the CT scaled to the window of the MR."""
    rows, columns = np.indices(ct.shape) // round(TILE_MM / PIXEL_MM)
    share = np.clip((ct - CT_WINDOW[0]) / (CT_WINDOW[1] - CT_WINDOW[0]), 0, 1)
    return np.where((rows + columns) % 2 == 0, share * (window[1] - window[0]) + window[0], mr).astype(
        np.float32
    )


def _image(axes: Axes, grid: Geometry, values: Slice, window: tuple[float, float]) -> None:
    axes.set_facecolor("black")
    axes.imshow(values, origin="lower", extent=_extent(grid), cmap="gray", vmin=window[0], vmax=window[1])
    _frame(axes, grid)


def _contours(axes: Axes, grid: Geometry, bones: Volume[np.uint8]) -> None:
    for bone in BONES:
        mask = Volume(array=(bones.array == BONE_LABELS[bone]).astype(np.float32), geometry=bones.geometry)
        inside = _without_steps(_as_plane(mask.resample_onto(grid)), bones.geometry)
        if inside.max() > 0.5 > inside.min():
            axes.contour(
                inside, levels=[0.5], extent=_extent(grid), colors=[BONE_OF[bone].contour], linewidths=0.9
            )
    _outline(axes, grid, _as_plane(_lumps(bones).resample_onto(grid)))


def _without_steps(inside: Slice, of: Geometry) -> Slice:
    """Return a mask on a slice whose outline runs through the voxels of its surface, not round each."""
    smooth: Slice = ndimage.gaussian_filter(inside, STEP_SIGMA * float(np.max(of.spacing_mm)) / PIXEL_MM)
    return smooth


def _outline(axes: Axes, grid: Geometry, area: Slice, colour: str = LUMP_COLOUR) -> None:
    """Draw by dashes where an area ends, such as what was cut off of a bone."""
    inside = np.nan_to_num(area)
    if inside.max() > 0.5 > inside.min():
        axes.contour(
            inside,
            levels=[0.5],
            extent=_extent(grid),
            colors=[colour],
            linewidths=0.9,
            linestyles="dashed",
        )


def _frame(axes: Axes, grid: Geometry) -> None:
    left, right, bottom, top = _extent(grid)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.plot([left + 3, left + 13], [bottom + 2.5] * 2, color="white", linewidth=2)
    axes.text(left + 14.5, bottom + 2.5, "10 mm", color="white", fontsize=6.5, va="center")


def _extent(grid: Geometry) -> tuple[float, float, float, float]:
    corners = grid.corners_lps()
    low, high = corners.min(axis=0) - PIXEL_MM / 2, corners.max(axis=0) + PIXEL_MM / 2
    across = 0 if grid.shape[1] == 1 else 1
    return float(low[across]), float(high[across]), float(low[2]), float(high[2])


def _size_mm(grid: Geometry) -> tuple[float, float]:
    left, right, bottom, top = _extent(grid)
    return right - left, top - bottom


def _as_plane(drawn: Volume[Scalar]) -> Slice:
    array = drawn.array.astype(np.float32, copy=False)
    return array[:, 0, :] if drawn.geometry.shape[1] == 1 else array[:, :, 0]
