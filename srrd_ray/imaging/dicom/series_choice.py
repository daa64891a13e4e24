"""The choice of the image among the stacks of a DICOM folder, by a fixed rule.

The modality asked for, no localiser, at least eight slices; then original before derived, then the thinnest
slices, then a bone kernel, then the most slices, then the first echo.
Two stacks equal in all of that are refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Modality
from srrd_ray.imaging.dicom.files import Listing, Slice
from srrd_ray.imaging.source import MIN_SLICES, Note

PARALLEL = 0.01
LOCALIZER = "LOCALIZER"


def choose_stack(
    folder: Path, listing: Listing, modality: Modality | None
) -> tuple[list[Slice], tuple[Note, ...]]:
    """Return the slices of the chosen stack, in no order yet, and a note where there was a choice.

    Raises
    ------
    InputError
        `dicom-empty`, `wrong-modality`, `dicom-patients`, `dicom-too-few-slices` or `dicom-series-tie`.
    """
    wanted = [s for s in listing.slices if modality in (None, s.modality)]
    if not wanted:
        found = sorted({s.modality for s in listing.slices})
        raise InputError(
            "wrong-modality" if found else "dicom-empty",
            f"no {modality or 'CT or MR'} image in the folder",
            where=folder.name,
            got=", ".join(found) or f"{listing.files} files, ignored: {listing.ignored}",
            expected=modality or "ct or mr",
        )
    people = {s.person for s in wanted} - {""}
    if len(people) > 1:
        raise InputError(
            "dicom-patients", "images of several patients in one folder", where=folder.name,
            got=f"{len(people)} PatientIDs", expected="those of one",
            todo="Give each patient a folder; srrd new-cohort sorts studies.",
        )  # fmt: skip
    stacks = _split_stacks(wanted)
    useful = [stack for stack in stacks if len(stack) >= MIN_SLICES and LOCALIZER not in stack[0].kinds]
    if not useful:
        counts = sorted((len(stack) for stack in stacks), reverse=True)
        raise InputError(
            "dicom-too-few-slices",
            "no stack has enough slices",
            where=folder.name,
            got=f"stacks of {counts[:8]} slices",
            expected=f"at least {MIN_SLICES} parallel slices",
            todo="Give the whole series; no spacing is invented.",
        )
    useful.sort(key=_rank)
    if len(useful) > 1 and _rank(useful[0]) == _rank(useful[1]):
        raise InputError(
            "dicom-series-tie",
            "several series fit equally well",
            where=folder.name,
            got="; ".join(_describe(stack) for stack in useful[:4]),
            todo="Leave one of them in the folder.",
        )
    if len(stacks) == 1:
        return useful[0], ()
    text = f"1 of {len(stacks)} stacks chosen: {_describe(useful[0])}"
    return useful[0], (Note(severity="FIX", code="dicom-series-chosen", message=text),)


def _split_stacks(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Split by series, echo, orientation, and whether it is a localiser: one inside a series falls away."""
    groups: dict[tuple[str, str, bool], list[list[Slice]]] = defaultdict(list)
    for item in slices:
        stacks = groups[(item.series, item.echo, LOCALIZER in item.kinds)]
        for stack in stacks:
            if _are_parallel(stack[0], item):
                stack.append(item)
                break
        else:
            stacks.append([item])
    return [stack for stacks in groups.values() for stack in stacks]


def _are_parallel(a: Slice, b: Slice) -> bool:
    if a.orientation is None or b.orientation is None:
        return a.orientation == b.orientation
    return bool(np.abs(np.subtract(a.orientation, b.orientation)).max() < PARALLEL)


def _rank(stack: list[Slice]) -> tuple[object, ...]:
    first = stack[0]
    kernel = first.technique.get("ConvolutionKernel", "")
    sharp = kernel.startswith(("BONE", "EDGE", "B5", "B6", "B7", "Br5", "Br6", "Br7"))
    echo = first.technique.get("EchoTime", "inf")
    return ("ORIGINAL" not in first.kinds, _thickness(first), not sharp, -len(stack), float(echo))


def _thickness(item: Slice) -> float:
    return float(item.technique.get("SliceThickness", "inf"))


def _describe(stack: list[Slice]) -> str:
    first = stack[0]
    kernel = first.technique.get("ConvolutionKernel", "kernel unknown")
    echo = f", echo time {first.technique['EchoTime']} ms" if "EchoTime" in first.technique else ""
    return f"{first.modality}, {len(stack)} slices, {_thickness(first):g} mm, {kernel}{echo}"
