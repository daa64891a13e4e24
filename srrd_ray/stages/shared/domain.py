"""Whether a model may be used on a scan: every reason against it, and what could not be checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from srrd_ray.imaging.source import Note
from srrd_ray.stages.shared.reading import KneeReading

Aspect: TypeAlias = Literal[
    "voxel size",
    "noise and sharpness",
    "kernel",
    "tube voltage",
    "density",
    "field of view",
    "metal",
    "lesions",
]
Verdict: TypeAlias = Literal["inside", "outside", "unknown"]
VOXELS = "log_voxel"
DENSITY = ("mean_hu", "skewness")
SCALE, METAL = "ct-scale", "ct-metal"
"""Codes of the notes of the readers that speak of Hounsfield units, and of metal."""
MOST_UNLIKE = 0.2
"""Share of the cubes that may be unlike those of the training, each for itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DomainCheck:
    """One aspect of a scan: inside or outside the training images, or not known, and what was found."""

    aspect: Aspect
    verdict: Verdict
    finding: str


def check_domain(
    reading: KneeReading, technique: Mapping[str, str], notes: Sequence[Note]
) -> tuple[DomainCheck, ...]:
    """Return what was found of each aspect; a scan with one outside is outside."""
    return (
        *_features(reading),
        *_headers(technique),
        *_notes(notes),
        _field_of_view(reading),
        _lesions(reading),
    )


def _features(reading: KneeReading) -> Iterator[DomainCheck]:
    """Yield what the cubes say in the mean: their size, their spread and texture, their density."""
    found: dict[Aspect, list[str]] = {"voxel size": [], "noise and sharpness": [], "density": []}
    for feature, words in zip(reading.distance.features, reading.distance.reasons, strict=True):
        found[_aspect(feature)].append(words)
    for aspect, reasons in found.items():
        if reasons:
            yield DomainCheck(aspect=aspect, verdict="outside", finding="; ".join(reasons))
        else:
            yield DomainCheck(aspect=aspect, verdict="inside", finding="as in the training images")


def _aspect(feature: str) -> Aspect:
    if feature.startswith(VOXELS):
        return "voxel size"
    return "density" if feature in DENSITY else "noise and sharpness"


def _headers(technique: Mapping[str, str]) -> Iterator[DomainCheck]:
    """Yield what the header tells of kernel and voltage. The training keeps neither: nothing to compare."""
    told: tuple[tuple[Aspect, str], ...] = (("kernel", "ConvolutionKernel"), ("tube voltage", "KVP"))
    for aspect, tag in told:
        unit = " kV" if tag == "KVP" else ""
        value = f"{technique[tag]}{unit}" if tag in technique else "not told by the file"
        finding = f"{value}; judged by noise, sharpness and density alone"
        yield DomainCheck(aspect=aspect, verdict="unknown", finding=finding)


def _notes(notes: Sequence[Note]) -> Iterator[DomainCheck]:
    by_code = {note.code: note.message for note in notes}
    if SCALE in by_code:
        yield DomainCheck(aspect="density", verdict="outside", finding=by_code[SCALE])
    yield DomainCheck(
        aspect="metal",
        verdict="outside" if METAL in by_code else "inside",
        finding=by_code.get(METAL, "none seen"),
    )


def _field_of_view(reading: KneeReading) -> DomainCheck:
    cut = [one for one in reading.not_measured if one.cause == "volume"]
    tried = len(reading.points) + reading.outside_volume
    finding = f"{reading.outside_volume} of {tried} places reach beyond the image"
    if cut:
        finding += f"; nothing is left of {', '.join(f'{one.bone} {one.compartment}' for one in cut)}"
    return DomainCheck(aspect="field of view", verdict="outside" if cut else "inside", finding=finding)


def _lesions(reading: KneeReading) -> DomainCheck:
    """Return how many cubes look unlike the training, which cysts, sclerosis, fractures or metal make."""
    finding = (
        f"{reading.unlike} of {len(reading.points)} cubes look unlike any of the training (cyst, sclerosis, "
        f"fracture, metal, or another scanner); outside above {MOST_UNLIKE:.0%}"
    )
    outside = reading.unlike > MOST_UNLIKE * len(reading.points)
    return DomainCheck(aspect="lesions", verdict="outside" if outside else "inside", finding=finding)
