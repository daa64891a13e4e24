"""The page of a simulated cohort: its images, its bone parameters, and the properties of its scanners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from srrd_ray import __version__
from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol
from srrd_ray.core.records import COMPARTMENTS, Compartment, Knee
from srrd_ray.core.volume import Volume
from srrd_ray.report import figures, overlays
from srrd_ray.report.overlays import CT_WINDOW, KneeImages
from srrd_ray.report.page import Block, Card, Grid, Page, Picture, Section, render
from srrd_ray.report.style import COLOURS, canvas, contour_words, png_uri, styled, svg_uri, with_unit

Plane = NDArray[np.float32]
WIDTH_INCHES = 11.0
PRIORS: dict[tuple[BoneName, Compartment], dict[ParameterSymbol, tuple[float, float]]] = {
    ("femur", "medial"): {"BV/TV": (0.24, 0.05), "Tb.Th": (0.18, 0.025)},
    ("femur", "lateral"): {"BV/TV": (0.21, 0.05), "Tb.Th": (0.18, 0.025)},
    ("tibia", "medial"): {
        "BV/TV": (0.25, 0.06),
        "Tb.Th": (0.20, 0.03),
        "Tb.Sp": (0.60, 0.09),
        "Tb.N": (1.25, 0.15),
    },
    ("tibia", "lateral"): {
        "BV/TV": (0.19, 0.05),
        "Tb.Th": (0.18, 0.025),
        "Tb.Sp": (0.70, 0.11),
        "Tb.N": (1.15, 0.15),
    },
}
"""Mean and SD of healthy weight-bearing bone at 0-6 mm of depth."""
SOURCES = (
    "Bands: healthy weight-bearing subchondral bone at 0-6 mm of depth, consistent with Patel 2003 (tibia "
    "above femur, medial above "
    "lateral, loss with depth), Shiraishi and Holzer (medial gain in osteoarthritis), Ding 2000-2003 and "
    "Chen 2011 (age, early disease). "
    "Tb.N is (BV/TV)/Tb.Th here and 1/(Tb.Th + Tb.Sp) in most of the literature, which reads higher. The "
    "simulated regions "
    "reach from 1 to 13 mm of depth; deep bone is sparser."
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shown:
    """A knee that the page shows: its images, and one small sagittal square in truth,
    MR and CT (rows from above).
    """

    knee: Knee
    title: str
    images: KneeImages
    zoom: Mapping[str, Plane]
    zoom_mm: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """A function of spatial frequency (1/mm): as measured on images, and as the protocol prescribes."""

    frequency: NDArray[np.float64]
    measured: NDArray[np.float64]
    prescribed: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scanner:
    """One hospital's CT: the title for its protocol, noise power in the slice, and modulation transfer."""

    title: str
    noise_power: Curve
    transfer: Curve


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gallery:
    """All that the page shows. `regions` has kl_grade, bone, compartment and the true parameters;
    `knees` the cohort's table.
    """

    cohort: str
    constants_sha256: str
    knees: pd.DataFrame
    regions: pd.DataFrame
    shown: Sequence[Shown]
    scanners: Sequence[Scanner]


def render_gallery(gallery: Gallery) -> str:
    """Return the page as HTML."""
    with styled():
        sections = (_images(gallery), _bone(gallery), _people(gallery), _scanners(gallery))
    page = Page(
        title="SRRD-Ray: a simulated cohort",
        subtitle="Paired CT and MR of knees that do not exist, with their exact truth",
        cards=_cards(gallery),
        sections=sections,
        footer=f"SRRD-Ray {__version__}. {gallery.cohort}, constants {gallery.constants_sha256[:16]}.",
    )
    return render(page)


def _cards(gallery: Gallery) -> tuple[Card, ...]:
    knees = gallery.knees
    diseased = int((knees["oa"] == 1).sum())
    bvtv = gallery.regions["BV/TV"]
    return (
        Card(title="Knees", value=str(len(knees)), note=f"of {knees['participant'].nunique()} participants"),
        Card(title="With osteoarthritis", value=str(diseased), note="Kellgren-Lawrence grade 2 or more"),
        Card(title="True BV/TV", value=f"{bvtv.mean():.3f}", interval=f"SD {bvtv.std():.3f} over regions"),
    )


def _images(gallery: Gallery) -> Section:
    blocks: list[Block] = []
    for one in gallery.shown:
        name = f"{one.knee.key}: {one.title}"
        blocks += [
            _png(
                draw_native(one.images),
                f"CT and MR of {name}",
                f"{name}. As acquired: CT axial above, MR sagittal below.",
            ),
            _png(
                overlays.registration(one.images),
                f"CT and MR of {name}, aligned",
                "Through the true transforms.",
            ),
            _png(
                draw_zoom(one),
                f"Trabeculae of {name}",
                f"The same {one.zoom_mm:.0f} mm under the medial plateau, sagittal.",
            ),
        ]
    return Section(
        anchor="images",
        title="Images",
        intro=f"Contours: {contour_words()}. The MR is bent against the CT: each bone has a rigid transform "
        "of its own.",
        blocks=tuple(blocks),
    )


def draw_native(images: KneeImages) -> Figure:
    """Return slices as they were acquired: four axial ones of the CT, four sagittal ones of the MR."""
    rows = [(images.ct, CT_WINDOW, (0.22, 0.42, 0.58, 0.8))]
    if images.mr is not None:
        bright = float(np.percentile(images.mr.array[::4, ::4, ::4].astype(np.float32), 99.5))
        rows.append((images.mr, (0.0, bright), (0.25, 0.42, 0.58, 0.75)))
    tall = [0.25 + WIDTH_INCHES / 4 * _height(volume) for volume, _, _ in rows]
    figure = Figure(figsize=(WIDTH_INCHES, sum(tall)), layout="constrained")
    panels = figure.subplots(len(rows), 4, squeeze=False, height_ratios=tall)
    for drawn, (volume, window, shares) in zip(panels, rows, strict=True):
        for axes, share in zip(drawn, shares, strict=True):
            _draw_slice(axes, volume, share, window)
    return figure


def _height(volume: Volume[np.generic]) -> float:
    """Return the height of a slice over its width."""
    (_, rows, columns), (_, down, across) = volume.array.shape, volume.geometry.spacing_mm
    return float(rows * down / (columns * across))


def _draw_slice(axes: Axes, volume: Volume[np.generic], share: float, window: tuple[float, float]) -> None:
    """Draw the plane at `share` of the first array axis, the axis along which slices were acquired."""
    number = int(share * volume.array.shape[0])
    _, down, across = volume.geometry.spacing_mm
    plane = volume.array[number].astype(np.float32)
    axes.imshow(plane, cmap="gray", vmin=window[0], vmax=window[1], aspect=down / across)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"slice {number + 1}", fontsize=8)
    axes.grid(visible=False)


def draw_zoom(one: Shown) -> Figure:
    """Return the small square in truth, MR and CT, side by side."""
    figure, [row] = canvas(11.0, 3.9, columns=len(one.zoom))
    for axes, (title, values) in zip(row, one.zoom.items(), strict=True):
        low, high = np.percentile(values, [0.5, 99.5])
        axes.imshow(
            values,
            cmap="gray",
            vmin=low,
            vmax=high,
            extent=(0, one.zoom_mm, 0, one.zoom_mm),
            interpolation="nearest",
        )
        axes.set(title=title, xlabel="mm")
        axes.grid(visible=False)
    return figure


def _bone(gallery: Gallery) -> Section:
    return Section(
        anchor="bone",
        title="Bone",
        intro="True parameters of the four weight-bearing regions by Kellgren-Lawrence grade.",
        blocks=(
            _svg(parameters(gallery.regions), "True parameters by grade", SOURCES),
            _means(gallery.regions),
        ),
    )


def parameters(regions: pd.DataFrame) -> Figure:
    """Return each parameter by grade, a row a region;
    a band marks mean ± SD of healthy bone where the literature gives it.
    """
    regions_shown = [(bone, compartment) for bone in BONES for compartment in COMPARTMENTS]
    figure, rows = canvas(11.0, 8.6, len(regions_shown), len(PARAMETERS))
    for row, (bone, compartment) in zip(rows, regions_shown, strict=True):
        of_region = regions[(regions["bone"] == bone) & (regions["compartment"] == compartment)]
        for axes, name in zip(row, PARAMETERS, strict=True):
            groups = [
                of_region.loc[of_region["kl_grade"] == grade, name].to_numpy(dtype=np.float64)
                for grade in range(5)
            ]
            prior = PRIORS.get((bone, compartment), {}).get(name)
            if prior:
                axes.axhspan(
                    prior[0] - prior[1], prior[0] + prior[1], color=COLOURS["plain"], alpha=0.18, linewidth=0
                )
            _strips(axes, groups)
            axes.set(ylabel=with_unit(name), xticks=range(5))
            if row is rows[-1]:
                axes.set_xlabel("KL grade")
        row[0].set_title(f"{bone}, {compartment}", loc="left")
    return figure


def _strips(axes: Axes, groups: Sequence[NDArray[np.float64]]) -> None:
    for grade, values in enumerate(groups):
        spread = (np.arange(values.size) % 7 - 3) * 0.05
        axes.scatter(
            grade + spread,
            values,
            s=7,
            c=COLOURS["vermillion"] if grade >= 2 else COLOURS["blue"],
            alpha=0.55,
        )
        if values.size:
            axes.plot(
                [grade - 0.28, grade + 0.28], [np.median(values)] * 2, color=COLOURS["ink"], linewidth=1.6
            )


def _means(regions: pd.DataFrame) -> Grid:
    rows = []
    for (bone, compartment), part in regions.groupby(["bone", "compartment"], observed=True, sort=True):
        values = (f"{part[name].mean():.3f} ± {part[name].std():.3f}" for name in PARAMETERS)
        rows.append((str(bone), str(compartment), str(len(part)), *values))
    header = ("Bone", "Compartment", "knees", *(with_unit(name) for name in PARAMETERS))
    return Grid(header=header, rows=tuple(rows), text_columns=2, caption="Mean ± SD over knees.")


def _people(gallery: Gallery) -> Section:
    caption = (
        "Half of the patients have osteoarthritis; age, sex and body mass shift with the grade, as in "
        "clinics."
    )
    return Section(
        anchor="people",
        title="People",
        intro="",
        blocks=(_svg(figures.cohort(gallery.knees), "Grades, ages and sexes", caption),),
    )


def _scanners(gallery: Gallery) -> Section:
    caption = (
        "Points: measured on simulated images (noise of an empty scan; a straight edge 3 degrees off the "
        "rows). Lines: what the protocol "
        "prescribes: ramp times the square of the transfer, and the kernel's transfer."
    )
    return Section(
        anchor="scanners",
        title="CT scanners",
        intro="Each simulated hospital has its own voxels, kernel, beam energy and noise.",
        blocks=(_svg(scanners(gallery.scanners), "Noise power and modulation transfer", caption),),
    )


def scanners(hospitals: Sequence[Scanner]) -> Figure:
    """Return noise power and modulation transfer of each hospital, measured against prescribed."""
    figure, [noise, transfer] = canvas(11.0, 5.6, 2, len(hospitals))
    for column, scanner in enumerate(hospitals):
        for axes, curve in ((noise[column], scanner.noise_power), (transfer[column], scanner.transfer)):
            axes.plot(curve.frequency, curve.prescribed, color=COLOURS["ink"], linewidth=1.1)
            axes.scatter(curve.frequency, curve.measured, s=9, c=COLOURS["vermillion"], alpha=0.8)
            axes.set(xlabel="1/mm", xlim=(0, None), ylim=(0, None))
        noise[column].set_title(scanner.title, fontsize=8)
    noise[0].set_ylabel("noise power (HU² mm²)")
    transfer[0].set_ylabel("modulation transfer")
    return figure


def _png(figure: Figure, alt: str, caption: str) -> Picture:
    return Picture(source=png_uri(figure), alt=alt, caption=caption)


def _svg(figure: Figure, alt: str, caption: str) -> Picture:
    return Picture(source=svg_uri(figure), alt=alt, caption=caption)
