"""The page of one CT that a trained model was applied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from srrd_ray import __version__
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.volume import Volume
from srrd_ray.report import overlays
from srrd_ray.report.content import Json, at, number
from srrd_ray.report.overlays import KneeImages
from srrd_ray.report.page import Block, Card, Grid, Note, Page, Picture, Section, render
from srrd_ray.report.style import contour_words, png_uri, styled, with_unit


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inference:
    """What is known of one knee from its CT alone.

    Parameters
    ----------
    ct, bones
        The image (HU) and its bone labels (femur 1, tibia 2), on one grid.
    maps
        Each predicted parameter on a grid in the same world, NaN where there is none.
    regions
        One row a bone and compartment: bone, compartment, cubes, the parameters and their spread
        (``<p>.cubes_sd``).
    record
        The fields of ``inference.json``: side, in_distribution, distance, flags, cubes, cubes_outside_volume,
        cubes_outside_bone, probability (null where there is none), model_sha256.
    """

    ct: Volume[np.generic]
    bones: Volume[np.uint8]
    maps: Mapping[ParameterSymbol, Volume[np.float32]]
    regions: pd.DataFrame
    record: Mapping[str, Json]


def render_inference(inference: Inference) -> str:
    """Return the page as HTML: headline, maps over the CT, table by region, and warnings."""
    record = inference.record
    sections = (
        Section(
            anchor="maps",
            title="Parameter maps",
            intro="Predicted parameters over the CT, each slice where the map holds most bone. "
            f"Contours: {contour_words()}.",
            blocks=_maps(inference),
        ),
        Section(
            anchor="regions", title="Regions", intro=_explain_spread(), blocks=(_regions(inference.regions),)
        ),
        Section(anchor="trust", title="Trust", intro="", blocks=_trust(record)),
    )
    page = Page(
        title="SRRD-Ray: one knee from CT",
        subtitle=f"Subchondral trabecular bone, {_side(record)} knee, read from CT alone by a trained model",
        banner=_banner(record),
        cards=_cards(record),
        sections=sections,
        footer=f"SRRD-Ray {__version__}. Research software; not a medical device, not for diagnosis.",
    )
    return render(page)


def _maps(inference: Inference) -> tuple[Block, ...]:
    limits = {name: _limits(inference.maps[name]) for name in PARAMETERS if name in inference.maps}
    known = {name: (low, high) for name, (low, high) in limits.items() if np.isfinite([low, high]).all()}
    if len(known) < len(PARAMETERS):
        return (Note(text="No map can be drawn: no cube lies inside the bone.", tone="warning"),)
    images = KneeImages(
        side="L" if at(inference.record, "side") == "L" else "R",
        ct=inference.ct,
        bones=inference.bones,
        mr=None,
        poses={},
    )
    with styled():
        source = png_uri(overlays.parameter_maps(images, inference.maps, known))
    caption = (
        "Coronal above, sagittal below. Each voxel blends the cubes (12.8 mm) round it: detail below that "
        "size is not real."
    )
    return (Picture(source=source, alt="Maps of the four parameters over the CT", caption=caption),)


def _limits(values: Volume[np.float32]) -> tuple[float, float]:
    held = values.array[np.isfinite(values.array)]
    if held.size == 0:
        return float("nan"), float("nan")
    low, high = (float(v) for v in np.percentile(held, [1, 99]))
    return low, max(high, low + 1e-3)


def _regions(table: pd.DataFrame) -> Grid:
    header = ("Bone", "Compartment", "cubes", *(with_unit(name) for name in PARAMETERS))
    rows = tuple(
        (
            str(row["bone"]),
            str(row["compartment"]),
            str(row["cubes"]),
            *(_with_spread(row, name) for name in PARAMETERS),
        )
        for row in table.to_dict("records")
    )
    return Grid(header=header, rows=rows, text_columns=2)


def _with_spread(row: Mapping[str, object], name: ParameterSymbol) -> str:
    about = PARAMETER_OF[name]
    value, spread = float(str(row[name])), float(str(row.get(about.cubes_sd, "nan")))
    words = f"{value:.{about.digits}f}"
    return f"{words} ± {spread:.{about.digits}f}" if np.isfinite(spread) else words


def _trust(record: Mapping[str, Json]) -> tuple[Block, ...]:
    flags = _strings(at(record, "flags"))
    blocks: list[Block] = [Note(text=flag, tone="warning") for flag in flags]
    if not flags:
        blocks.append(
            Note(
                text="No feature of the scan lies outside the images that the model was trained on.",
                tone="good",
            )
        )
    rows = [
        ("distance to the training images (largest feature, SD)", number(at(record, "distance"), 1)),
        ("cubes read", str(at(record, "cubes"))),
        ("candidate cubes outside the volume", str(at(record, "cubes_outside_volume"))),
        ("candidate cubes outside the bone", str(at(record, "cubes_outside_bone"))),
    ]
    hashes = at(record, "model_sha256")
    rows += (
        [(f"model {name}", str(value)) for name, value in hashes.items()]
        if isinstance(hashes, Mapping)
        else []
    )
    blocks.append(Grid(header=("", ""), rows=tuple(rows), numeric=False))
    return tuple(blocks)


def _banner(record: Mapping[str, Json]) -> Note | None:
    if at(record, "in_distribution") is True:
        return None
    return Note(
        text=(
            "This scan lies outside the images that the model was trained on. The values below are "
            "extrapolations; do not use them without checking (see Trust)."
        ),
        tone="bad",
    )


def _cards(record: Mapping[str, Json]) -> tuple[Card, ...]:
    inside = at(record, "in_distribution") is True
    probability = at(record, "probability")
    return (
        Card(
            title="Scan against training images",
            value="inside" if inside else "outside",
            interval=f"largest distance {number(at(record, 'distance'), 1)} SD",
            tone="good" if inside else "bad",
        ),
        Card(
            title="Probability of osteoarthritis",
            value=number(probability),
            note="by the classifier of the run"
            if probability is not None
            else "no classifier, or a compartment is missing",
        ),
        Card(
            title="Cubes of bone read",
            value=str(at(record, "cubes")),
            note=f"{at(record, 'cubes_outside_volume')} left the volume",
        ),
    )


def _explain_spread() -> str:
    return (
        "Mean ± SD over the cubes of each region. The SD is variation within the region, not the error of "
        "the method; for that see the report of the training run."
    )


def _strings(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def _side(record: Mapping[str, Json]) -> str:
    return {"L": "left", "R": "right"}.get(str(at(record, "side")), "")
