"""How every figure looks, and how it becomes a part of the page: same figure, same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srrd_ray.core.bones import BONE_OF
from srrd_ray.core.parameters import PARAMETER_OF, ParameterSymbol

COLOURS = {
    "teacher": "#009E73",
    "baseline": "#E69F00",
    "school": "#56B4E9",
    "distilled": "#0072B2",
    "mr": "#CC79A7",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "plain": "#56B4E9",
    "ink": "#22303c",
    "pale": "#9aa5b1",
}
"""Okabe and Ito's palette: distinct for colour-blind readers too."""
NAMES = {
    "teacher": "MR teacher",
    "baseline": "CT alone (baseline)",
    "school": "CT, school alone",
    "distilled": "CT, distilled from MR",
    "mr": "MR measurement",
}
STYLE = {
    "svg.hashsalt": "srrd",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "axes.edgecolor": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e8ee",
    "grid.linewidth": 0.7,
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.dpi": 100.0,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside with the style of the report."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # the stubs list the keys one by one
        yield


def canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure (inches) and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def panels(rows: int, columns: int, height: float) -> tuple[Figure, list[list[Axes]]]:
    """Return a page-wide grid of small axes, each row `height` inches; fixed margins draw twice as fast."""
    figure = Figure(figsize=(11, height * rows + 0.1))
    axes = figure.subplots(rows, columns, squeeze=False)
    tall = height * rows + 0.1
    figure.subplots_adjust(
        left=0.075, right=0.99, bottom=0.48 / tall, top=1 - 0.28 / tall, wspace=0.33, hspace=0.42
    )
    for one in axes.flat:
        one.locator_params(nbins=5)
    return figure, [list(row) for row in axes]


def with_unit(name: ParameterSymbol) -> str:
    """Return ``Tb.Th (mm)``: the parameter as axes and tables name it."""
    return PARAMETER_OF[name].label


def contour_words() -> str:
    """Return ``femur blue, tibia amber`` and so on: the outlines over an image, for its caption."""
    bones = ", ".join(f"{bone.name} {bone.contour_word}" for bone in BONE_OF.values())
    return f"{bones}, red dashes what was cut off of one"


def svg_uri(figure: Figure) -> str:
    """Return the figure as a data URI of an SVG without a date."""
    held = io.BytesIO()
    figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(held.getvalue()).decode()}"


def png_bytes(figure: Figure, dpi: int = 110) -> bytes:
    """Return the figure as a PNG without software or date."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=dpi, metadata={"Software": None})
    return held.getvalue()


def png_uri(figure: Figure, dpi: int = 110) -> str:
    """Return the figure as a data URI of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(figure, dpi)).decode()}"
