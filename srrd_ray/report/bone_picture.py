"""One picture of a bone volume: its three middle slices coloured by local thickness and spacing,
and the two histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from srrd_ray.morphometry.tally import Tally
from srrd_ray.report.style import COLOURS

Plane: TypeAlias = NDArray[np.float32]

GROUND = "#10151b"
BINS = 30
NAMES = ("across z", "across y", "across x")
MOST_PIXELS = 900


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BonePicture:
    """The content of a picture: middle slices across z, y and x (mm, 0 outside the phase) of both maps,
    and their tallies.

    `steps_mm` is the voxel size (z, y, x).
    """

    title: str
    thickness: tuple[Plane, Plane, Plane]
    spacing: tuple[Plane, Plane, Plane]
    steps_mm: tuple[float, float, float]
    bone: Tally
    marrow: Tally


def bone_figure(picture: BonePicture) -> Figure:
    """Return the picture: Tb.Th above, Tb.Sp below;
    slices, colour bar and histogram share one scale in each row.
    """
    shapes = [(plane.shape[0] * down, plane.shape[1] * across) for plane, (down, across) in _planes(picture)]
    widths = [across / max(down, across) for down, across in shapes]
    figure = Figure(figsize=(3.3 * sum(widths) + 4.4, 6.9), layout="constrained")
    grid = figure.subplots(2, 4, squeeze=False, width_ratios=[*widths, 1.15])
    figure.suptitle(f"{picture.title}: middle slices", fontsize=11, fontweight="bold")
    _row(figure, list(grid[0]), picture, bone=True)
    _row(figure, list(grid[1]), picture, bone=False)
    return figure


def _row(figure: Figure, row: list[Axes], picture: BonePicture, *, bone: bool) -> None:
    planes, tally = (picture.thickness, picture.bone) if bone else (picture.spacing, picture.marrow)
    name, what, colours = ("Tb.Th", "bone", "viridis") if bone else ("Tb.Sp", "marrow", "plasma")
    top = _top(tally)
    image = None
    for axes, plane, title, steps in zip(row, planes, NAMES, _steps(picture), strict=False):
        # the last plane on top, as the head is in most volumes
        upright = plane if title == NAMES[0] else plane[::-1]
        image = _slice(axes, upright, steps, colours, top)
        axes.set_title(title, fontsize=9, fontweight="normal")
    if image is not None:
        figure.colorbar(image, ax=row[:3], location="left", shrink=0.8, pad=0.01, label=f"{name} (mm)")
    _histogram(row[3], tally, f"{name} (mm)", what, top)


def _slice(axes: Axes, plane: Plane, steps: tuple[float, float], colours: str, top: float) -> AxesImage:
    down, across = steps
    thin = max(1, -(-max(plane.shape) // MOST_PIXELS))
    held = np.ma.masked_equal(plane[::thin, ::thin], 0)
    outlined = [withStroke(linewidth=3, foreground=GROUND)]
    height, width = plane.shape[0] * down, plane.shape[1] * across
    drawn = axes.imshow(
        held,
        cmap=colours,
        vmin=0,
        vmax=top,
        extent=(0, width, height, 0),
        interpolation="nearest",
        aspect="equal",
    )
    axes.set_facecolor(GROUND)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    bar = _nice(width / 4)
    at = (0.04 * width, height - 0.05 * height)
    axes.plot(
        [at[0], at[0] + bar],
        [at[1]] * 2,
        color="white",
        linewidth=2.5,
        path_effects=[withStroke(linewidth=5, foreground=GROUND)],
    )
    axes.text(
        at[0],
        at[1] - 0.02 * height,
        f"{bar:g} mm",
        color="white",
        fontsize=8,
        va="bottom",
        path_effects=outlined,
    )
    return drawn


def _histogram(axes: Axes, tally: Tally, label: str, what: str, top: float) -> None:
    axes.set(xlabel=label, ylabel=f"share of {what} (%)")
    found = tally.spread
    if found is None:
        axes.text(0.5, 0.5, "no value", ha="center", transform=axes.transAxes)
        return
    edges = np.linspace(0, top, BINS + 1)
    shares = 100 * tally.histogram(edges) / tally.n
    colour = COLOURS["teacher"] if what == "bone" else COLOURS["vermillion"]
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.85)
    axes.axvline(found.mean, color=COLOURS["ink"], linewidth=1.4)
    axes.set_title(
        f"{found.mean:.3g} ± {found.sd:.2g} mm, at most {found.max:.3g}", fontsize=9, fontweight="normal"
    )
    axes.set(xlim=(0, top), ylim=(0, None))


def _top(tally: Tally) -> float:
    """Return the end of the scale: where 99.5 % of the voxels lie below,
    so that one large ball does not dim all others.
    """
    if not tally.counts or not np.isfinite(tally.values[-1]):
        return 1.0
    share = np.cumsum(tally.counts) / tally.n
    return 1.05 * tally.values[int(np.searchsorted(share, 0.995))]


def _steps(picture: BonePicture) -> tuple[tuple[float, float], ...]:
    z, y, x = picture.steps_mm
    return (y, x), (z, x), (z, y)


def _planes(picture: BonePicture) -> Sequence[tuple[Plane, tuple[float, float]]]:
    return list(zip(picture.thickness, _steps(picture), strict=True))


def _nice(length: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is no longer than `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length))
