"""The page of one CT that a trained model was applied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from srrd_ray import __version__
from srrd_ray.core.json_tree import Json, at
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.report import overlays
from srrd_ray.report.content import number
from srrd_ray.report.infer_precision import precision_blocks
from srrd_ray.report.infer_values import (
    error_table,
    not_measured_blocks,
    range_tables,
    usual_people,
    value_table,
)
from srrd_ray.report.overlays import KneeImages
from srrd_ray.report.page import Block, Card, Grid, Note, Page, Picture, Section, render
from srrd_ray.report.style import contour_words, png_uri, styled
from srrd_ray.statistics.expected import Expected, ModelExpectations
from srrd_ray.statistics.model_precision import ModelPrecision

SIMULATED = (
    "SIMULATED TRAINING: the model of this page learnt from simulated knees alone, never from a patient. "
    "Its values in patients are not validated: do not use them for any decision."
)
TAUGHT = (
    "SIMULATED TEACHER: the labels that the model of this page learnt from were read by networks that learnt "
    "from simulated knees alone. They are not validated in patients."
)
OUTSIDE = (
    "This scan lies outside the images that the model was trained on ({aspects}). The values below are "
    "extrapolations, shown in grey; no probability is given (see Trust)."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """The model of a page: its name, hash and networks, and of how many patients (fewest, most) they learnt.

    `simulated` says whether these are known to be simulated, `labels` what was learnt, in words,
    `taught` whether networks that learnt from simulated knees read those labels.
    """

    name: str
    sha256: str
    networks: int
    patients: tuple[int, int] | None
    simulated: bool
    caution: str = ""
    labels: str = ""
    taught: bool = False


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
        The fields of ``inference.json``.
    name
        Of the CT; empty where it may name a person.
    expected
        What to expect of the models of the run; null where the model came without.
    precision
        How well its values repeat; null where that was not measured.
    """

    ct: Volume[np.generic]
    bones: Volume[np.uint8]
    maps: Mapping[ParameterSymbol, Volume[np.float32]]
    regions: pd.DataFrame
    record: Mapping[str, Json]
    model: ModelFacts
    name: str = ""
    expected: Expected | None = None
    precision: ModelPrecision | None = None

    @property
    def outside(self) -> bool:
        """Whether the scan lies outside the images of the training."""
        return at(self.record, "in_distribution") is not True

    @property
    def of_model(self) -> ModelExpectations:
        """What to expect of this model."""
        known = self.expected.models if self.expected else {}
        return known.get(self.model.name, ModelExpectations())


def render_inference(inference: Inference) -> str:
    """Return the page as HTML: warnings, headline, values, maps and bones over the CT, and their origin."""
    with styled():
        pictures = _bones(inference), _maps(inference)
    sections = (
        Section(
            anchor="values",
            title="Values",
            intro="",
            blocks=(
                value_table(
                    inference.regions, inference.of_model, inference.precision, outside=inference.outside
                ),
                *not_measured_blocks(inference.regions, inference.record),
            ),
        ),
        Section(
            anchor="precision",
            title="Precision",
            intro=_AGAIN,
            blocks=precision_blocks(inference.precision, outside=inference.outside),
        ),
        Section(anchor="trust", title="Trust", intro=_TRUST, blocks=_trust(inference.record)),
        Section(
            anchor="maps",
            title="Parameter maps",
            intro=_MAPS,
            blocks=pictures[1],
        ),
        Section(anchor="bones", title="Bones", intro=_LOOK, blocks=(pictures[0],)),
        Section(anchor="scan", title="Scan", intro="", blocks=(_scan(inference),)),
        Section(
            anchor="model",
            title="Model",
            intro="",
            blocks=(_model(inference), *error_table(inference.of_model)),
        ),
        Section(
            anchor="usual",
            title="Usual values",
            intro=_USUAL.format(people=usual_people(inference.of_model)),
            blocks=range_tables(inference.of_model),
        ),
    )
    page = Page(
        title="SRRD-Ray: one knee from CT",
        subtitle=f"Subchondral bone, {_side(inference.record)} knee, read from CT alone by a trained model",
        banners=tuple(_banners(inference)),
        cards=_cards(inference),
        sections=sections,
        footer=f"SRRD-Ray {__version__}. Research software; not a medical device, not for diagnosis.",
    )
    return render(page)


_MAPS = (
    "Predicted parameters over the CT, each slice where the map holds most bone. Colours mean the same on "
    f"every page. Contours: {contour_words()}."
)
_TRUST = "What was looked at in this scan, and whether it is as in the images that the model was trained on."
_LOOK = (
    "Look at the outlines: values are of the bone inside them. An outline that leaves the bone, or leaves "
    f"out a part of it, makes them wrong. Contours: {contour_words()}."
)
_AGAIN = (
    "How far the values of one knee differ when it is scanned again, and how often the 90 % intervals hold: "
    "what a change, or a difference between two scans, has to exceed to be more than noise."
)
_USUAL = (
    "What the model reads, out of fold, in {people}, with and without osteoarthritis, by sex and age. Not a "
    "healthy reference. Groups of fewer than ten are left out."
)


def _images(inference: Inference) -> KneeImages:
    side: Side = "L" if at(inference.record, "side") == "L" else "R"
    return KneeImages(side=side, ct=inference.ct, bones=inference.bones, mr=None, poses={})


def _bones(inference: Inference) -> Picture:
    caption = "The bones that were found, on the CT: five coronal slices above, five sagittal below."
    source = png_uri(overlays.bone_slices(_images(inference)))
    return Picture(source=source, alt="Outlines of femur and tibia on slices of the CT", caption=caption)


def _maps(inference: Inference) -> tuple[Block, ...]:
    if not all(
        np.isfinite(inference.maps[name].array).any() for name in PARAMETERS if name in inference.maps
    ):
        return (Note(text="No map can be drawn: no cube lies inside the bone.", tone="warning"),)
    limits = {name: PARAMETER_OF[name].shown for name in PARAMETERS}
    drawn = overlays.parameter_maps(_images(inference), inference.maps, limits, grey=inference.outside)
    caption = (
        "Coronal above, sagittal below. Each voxel blends the cubes (12.8 mm) round it: detail below that "
        "size is not real." + (" In grey: the scan lies outside the training." if inference.outside else "")
    )
    return (Picture(source=png_uri(drawn), alt="Maps of the four parameters over the CT", caption=caption),)


def _trust(record: Mapping[str, Json]) -> tuple[Block, ...]:
    checks = at(record, "checks")
    blocks: list[Block] = []
    if isinstance(checks, list | tuple) and checks:
        rows = [tuple(str(at(one, key)) for key in ("aspect", "verdict", "finding")) for one in checks]
        header = ("Aspect", "Scan", "What was found")
        blocks.append(Grid(header=header, rows=tuple(rows), numeric=False, label="Checks of the scan"))
    flags = _strings(at(record, "flags"))
    blocks += [Note(text=flag, tone="warning") for flag in flags]
    if not flags:
        blocks.append(Note(text="Nothing was found that speaks against these values.", tone="good"))
    counts = (
        ("distance to the training images (largest feature, SD)", number(at(record, "distance"), 1)),
        ("cubes read", str(at(record, "cubes"))),
        ("candidate cubes outside the volume", str(at(record, "cubes_outside_volume"))),
        ("candidate cubes outside the bone", str(at(record, "cubes_outside_bone"))),
    )
    return (*blocks, Grid(header=("", ""), rows=counts, numeric=False, label="Distance and cubes"))


_TECHNIQUE = {
    "Manufacturer": "scanner, maker",
    "KVP": "tube voltage (kV)",
    "ConvolutionKernel": "kernel",
    "SliceThickness": "slice thickness (mm)",
    "XRayTubeCurrent": "tube current (mA)",
    "Exposure": "exposure (mAs)",
    "ReconstructionDiameter": "field of view of the reconstruction (mm)",
}


def _scan(inference: Inference) -> Grid:
    grid, technique = inference.ct.geometry, at(inference.record, "technique")
    told = technique if isinstance(technique, Mapping) else {}
    rows = (
        ("name", inference.name or "not shown, since it may name a person"),
        ("SHA-256 of the voxels", str(at(inference.record, "ct_sha256") or "not known")),
        ("voxel (mm; slice, row, column)", " × ".join(f"{step:.3g}" for step in grid.spacing_mm)),
        ("voxels", " × ".join(map(str, grid.shape))),
        (
            "extent (mm)",
            " × ".join(f"{n * step:.0f}" for n, step in zip(grid.shape, grid.spacing_mm, strict=True)),
        ),
        *((words, str(told.get(tag, "not told by the file"))) for tag, words in _TECHNIQUE.items()),
    )
    return Grid(header=("", ""), rows=rows, numeric=False, label="The scan and its technique")


def _model(inference: Inference) -> Grid:
    model, run = inference.model, inference.expected
    rows = [
        ("model", model.name + (", one network" if model.networks == 1 else f", {model.networks} networks")),
        ("SHA-256 of model and classifier", model.sha256),
        ("learnt from", _learnt_from(inference)),
        ("kind of knees", _kind(inference)),
        ("learnt", model.labels or "not known"),
    ]
    if run is not None:
        oa = "unknown" if run.with_oa is None else str(run.with_oa)
        rows.append(("women / men", f"{run.women} / {run.men}"))
        rows.append(("knees / with osteoarthritis", f"{run.knees} / {oa}"))
        rows.append(("age (years)", f"{run.ages[0]:.0f} to {run.ages[1]:.0f}" if run.ages else "unknown"))
    hashes = at(inference.record, "model_sha256")
    if isinstance(hashes, Mapping):
        rows += [(f"SHA-256 of {name}", str(value)) for name, value in hashes.items()]
    return Grid(header=("", ""), rows=tuple(rows), numeric=False, label="The model and what it learnt from")


def _learnt_from(inference: Inference) -> str:
    if inference.model.patients is None:
        return "an unknown number of patients"
    low, high = inference.model.patients
    each = f"{low}" if low == high else f"{low} to {high}"
    whole = f", of {inference.expected.patients} in all" if inference.expected else ""
    who = "simulated patients" if inference.model.simulated else "patients"
    return f"{each} {who} a network{whole}"


def _kind(inference: Inference) -> str:
    if inference.model.simulated:
        return "SIMULATED: no patient"
    return "patients" if inference.expected else "not known"


def _banners(inference: Inference) -> list[Note]:
    banners = [Note(text=SIMULATED, tone="bad")] if inference.model.simulated else []
    if inference.model.taught and not inference.model.simulated:
        banners.append(Note(text=TAUGHT, tone="bad"))
    if inference.outside:
        checks = at(inference.record, "checks")
        entries = checks if isinstance(checks, list | tuple) else ()
        aspects = [str(at(one, "aspect")) for one in entries if at(one, "verdict") == "outside"]
        text = OUTSIDE.format(aspects=", ".join(dict.fromkeys(aspects)) or "see Trust")
        banners.append(Note(text=text, tone="bad"))
    if inference.model.caution:
        banners.append(Note(text=f"The model {inference.model.caution}.", tone="warning"))
    return banners


def _cards(inference: Inference) -> tuple[Card, ...]:
    record = inference.record
    simulated = Card(
        title="What the model learnt from",
        value="SIMULATED knees",
        note="no patient; not validated in patients",
        tone="bad",
    )
    scan = Card(
        title="Scan against training images",
        value="outside" if inference.outside else "inside",
        interval=f"largest distance {number(at(record, 'distance'), 1)} SD",
        tone="bad" if inference.outside else "good",
    )
    cubes = Card(
        title="Cubes of bone read",
        value=str(at(record, "cubes")),
        note=f"{at(record, 'cubes_outside_volume')} more reach beyond the image",
    )
    return (*((simulated,) if inference.model.simulated else ()), scan, _probability(inference), cubes)


def _probability(inference: Inference) -> Card:
    probability = at(inference.record, "probability")
    title = "Probability of osteoarthritis"
    if inference.outside:
        return Card(
            title=title, value="not given", note="the scan lies outside the training images", tone="bad"
        )
    if probability is None:
        return Card(title=title, value=number(None), note="no classifier, or a compartment is missing")
    return Card(title=title, value=number(probability), note="by the classifier of the run")


def _strings(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def _side(record: Mapping[str, Json]) -> str:
    return {"L": "left", "R": "right"}.get(str(at(record, "side")), "")
