"""A DICOM folder as one stack of slices: chosen by a stated rule, checked for every gap, its geometry exact.

Slices are ordered by position alone; which stack of several is meant,
`srrd_ray.imaging.dicom.series_choice` decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Modality, Side, Unit
from srrd_ray.imaging.dicom.decode import read_stored_values
from srrd_ray.imaging.dicom.files import Listing, Slice, read_folder
from srrd_ray.imaging.dicom.header_checks import check_header, check_knee, rescaled_unit
from srrd_ray.imaging.dicom.series_choice import choose_stack
from srrd_ray.imaging.source import (
    MAX_SPACING_MM,
    MIN_SLICES,
    Note,
    ReadRules,
    check_extent,
    check_grid,
    check_memory,
    spacing_error,
)

JITTER = 0.01
OVERLAP = 1.5
"""Thickness, in distances of slices, from which acquisitions that alternate are no packages of one scan."""
TILT_DEGREES = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Checked slices in order of position. `geometry` may be sheared
    (`tilted`) or skip positions (`gaps_mm`).
    """

    slices: tuple[Slice, ...]
    geometry: Geometry
    modality: Modality
    unit: Unit
    tilted: bool
    resample_from_mm: tuple[float, ...]
    notes: tuple[Note, ...]


def read_stack(folder: Path, modality: Modality | None, side: Side | None, rules: ReadRules) -> Stack:
    """Return the one stack of a DICOM folder that the rule chooses, from headers alone.

    Raises
    ------
    InputError
        `dicom-*`, `wrong-modality`, `not-a-knee`, `side-contradiction`,
        `spacing-invalid` or `image-too-large`.
    """
    listing = read_folder(folder, max_gib=rules.max_gib)
    chosen, notes = choose_stack(folder, listing, modality)
    chosen, copies = _drop_copies(chosen)
    check_header(folder, chosen)
    unit, units = rescaled_unit(folder, chosen, modality)
    known = check_knee(folder, chosen, side, rules) if modality is not None else ()
    ordered, distances, more = _order(folder, chosen)
    more += _check_acquisitions(folder, ordered, distances)
    check_memory((len(ordered), *_shape(ordered)), 4, rules, folder.name)
    geometry, tilt_mm = _geometry(ordered, distances)
    check_grid(geometry.shape, geometry, folder.name)
    if modality is not None:
        known += check_extent(geometry, folder.name, rules)
    choice = "".join(f"; {note.message}" for note in notes)
    resample_from_mm, spacing_notes = _check_spacing(folder, ordered, distances, rules, choice)
    tilt_notes = _check_tilt(folder, tilt_mm, distances, rules)
    return Stack(
        slices=ordered,
        geometry=geometry,
        modality=ordered[0].modality,
        unit=unit,
        tilted=bool(tilt_notes),
        resample_from_mm=resample_from_mm,
        notes=(
            *_note_ignored(listing),
            *notes,
            *copies,
            *units,
            *known,
            *more,
            *spacing_notes,
            *tilt_notes,
            *_flags(ordered),
        ),
    )


def _drop_copies(stack: list[Slice]) -> tuple[list[Slice], tuple[Note, ...]]:
    """Drop second copies of one SOP instance.

    An instance is at one position: a UID that several positions share, or that is absent, identifies nothing.
    """
    by_instance: dict[tuple[str, object], Slice] = {}
    for item in stack:
        key = (item.instance, item.position)
        if key in by_instance and not _same_pixels(by_instance[key], item):
            raise _two_images_error(by_instance[key], item, "two files of one SOP instance differ")
        by_instance.setdefault(key, item)
    notes = []
    if len({instance for instance, _ in by_instance}) < len(by_instance):
        text = "SOPInstanceUID is absent or shared by several slices: they are told apart by their positions"
        notes.append(Note(severity="FLAG", code="dicom-uid", message=text))
    dropped = len(stack) - len(by_instance)
    if dropped:
        text = f"{dropped} second copies of the same instance left out"
        notes.append(Note(severity="FIX", code="dicom-copy", message=text))
    return list(by_instance.values()), tuple(notes)


def _same_pixels(a: Slice, b: Slice) -> bool:
    hashes = [
        hashlib.sha256(np.ascontiguousarray(read_stored_values(item)).tobytes()).digest() for item in (a, b)
    ]
    return hashes[0] == hashes[1]


def _two_images_error(a: Slice, b: Slice, what: str) -> InputError:
    todo = "Remove the one that does not belong to the series."
    if a.acquisition != b.acquisition:
        what += f", of acquisitions {a.acquisition} and {b.acquisition}"
        todo = "Leave the files of one AcquisitionNumber in the folder: each may be a volume of its own."
    return InputError(
        "dicom-duplicate-position",
        what,
        got=f"{a.name} and {b.name}",
        expected="one image a position",
        todo=todo,
    )


def _order(
    folder: Path, stack: list[Slice]
) -> tuple[tuple[Slice, ...], NDArray[np.float64], tuple[Note, ...]]:
    """Return slices by position along their common normal, one a position, and those positions in mm."""
    normal = _normal(stack[0])
    by_position = sorted(
        ((float(np.dot(normal, s.position or ())), s) for s in stack), key=lambda pair: pair[0]
    )
    step = float(np.median(np.diff([position_mm for position_mm, _ in by_position])))
    kept = [by_position[0]]
    for position_mm, item in by_position[1:]:
        if position_mm - kept[-1][0] > max(1e-3, 0.01 * abs(step)):
            kept.append((position_mm, item))
        elif not _same_pixels(kept[-1][1], item):
            raise _two_images_error(kept[-1][1], item, "two different images at one position")
    if len(kept) < MIN_SLICES:
        raise InputError(
            "dicom-too-few-slices", "too few distinct positions", where=folder.name, got=str(len(kept)),
            expected=f"at least {MIN_SLICES}",
        )  # fmt: skip
    dropped = len(stack) - len(kept)
    note = Note(
        severity="FIX", code="dicom-duplicate-position", message=f"{dropped} identical slices left out"
    )
    return (
        tuple(s for _, s in kept),
        np.array([position_mm for position_mm, _ in kept]),
        (note,) if dropped else (),
    )


def _check_acquisitions(
    folder: Path, stack: Sequence[Slice], distances: NDArray[np.float64]
) -> tuple[Note, ...]:
    """Flag slices of several acquisitions that lie between one another; refuse those that are a volume each.

    Packages of one scan leave gaps that the others fill. Slices that overlap one another by half and more
    come from volumes of their own, between which the patient may have moved.
    """
    numbers = [item.acquisition for item in stack]
    changes = sum(a != b for a, b in pairwise(numbers))
    if changes < len(set(numbers)):
        return ()
    step, thick = float(np.median(np.diff(distances))), stack[0].technique.get("SliceThickness", "0")
    found = f"{len(set(numbers))} acquisitions, slices of {float(thick):g} mm every {step:.4g} mm"
    if float(thick) > OVERLAP * step:
        raise InputError(
            "dicom-acquisitions", "slices of several acquisitions lie between one another",
            where=folder.name, got=found, expected="one acquisition",
            todo="Leave the files of one AcquisitionNumber in the folder.",
        )  # fmt: skip
    text = f"slices of several acquisitions lie between one another and are read as one image: {found}"
    return (Note(severity="FLAG", code="dicom-acquisitions", message=text),)


def _normal(item: Slice) -> NDArray[np.float64]:
    turned = np.array(item.orientation, dtype=np.float64)
    normal = np.cross(turned[:3], turned[3:])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def _shape(stack: Sequence[Slice]) -> tuple[int, int]:
    return stack[0].shape or (0, 0)


def _geometry(stack: Sequence[Slice], distances: NDArray[np.float64]) -> tuple[Geometry, float]:
    """Return the grid and how far (mm) the last slice is shifted sideways from a perpendicular stack."""
    first, last = (np.array(stack[i].position, dtype=np.float64) for i in (0, -1))
    turned = np.array(stack[0].orientation, dtype=np.float64)
    row_mm, column_mm = stack[0].spacing or (0.0, 0.0)
    affine = np.eye(4)
    affine[:3, 0] = turned[:3] / np.linalg.norm(turned[:3]) * column_mm
    affine[:3, 1] = turned[3:] / np.linalg.norm(turned[3:]) * row_mm
    affine[:3, 2] = (last - first) / (len(stack) - 1)
    affine[:3, 3] = first
    sideways = (last - first) - _normal(stack[0]) * (distances[-1] - distances[0])
    return Geometry.from_affine((len(stack), *_shape(stack)), affine), float(np.linalg.norm(sideways))


def _check_spacing(
    folder: Path, stack: Sequence[Slice], distances: NDArray[np.float64], rules: ReadRules, choice: str
) -> tuple[tuple[float, ...], tuple[Note, ...]]:
    """Return the positions (mm) to resample from (none where the spacing is even);
    refuse gaps and uneven spacing by default. `choice` is how the stack was chosen, for that message.
    """
    gaps = np.diff(distances)
    step = float(np.median(gaps))
    if not 0 < step <= MAX_SPACING_MM:
        raise spacing_error(folder.name, round(step, 4))
    off = np.abs(gaps - step)
    if off.max() <= JITTER * step:
        worst = 100 * float(off.max()) / step
        note = Note(
            severity="INFO",
            code="dicom-jitter",
            message=f"slice positions jitter by up to {worst:.2g} % of {step:.4g} mm",
        )
        return (), (note,) if worst > 1e-3 else ()
    if rules.irregular_spacing == "resample":
        text = (
            f"{len(stack)} uneven slices (gaps {gaps.min():.4g} to {gaps.max():.4g} mm) resampled to "
            f"{gaps.min():.4g} mm"
        )
        return tuple(distances.tolist()), (
            Note(severity="FIX", code="dicom-spacing-irregular", message=text),
        )
    raise _uneven_error(folder, gaps, step, choice)


def _uneven_error(folder: Path, gaps: NDArray[np.float64], step: float, choice: str) -> InputError:
    wide = np.flatnonzero(np.abs(gaps - step) > JITTER * step)
    whole = np.abs(gaps[wide] / step - np.rint(gaps[wide] / step)) < 0.05
    todo = "Export the series again; a run of a cohort resamples it with irregular_spacing: resample."
    if whole.all() and (gaps[wide] > 1.5 * step).all():
        at = int(wide[0])
        return InputError(
            "dicom-gap",
            f"gap of {gaps[at]:.4g} mm after slice {at + 1} of {len(gaps) + 1} (expected {step:.4g})",
            where=folder.name,
            got=f"{int(np.rint(gaps[wide] / step - 1).sum())} slices missing{choice}",
            todo=todo,
        )
    shown = ", ".join(f"{gaps[i]:.4g} after {i + 1}" for i in wide[:12])
    return InputError(
        "dicom-spacing-irregular",
        "slices are not evenly spaced",
        where=folder.name,
        got=f"gaps in mm: {shown}{choice}",
        expected=f"{step:.4g} mm within {100 * JITTER:g} %",
        todo=todo,
    )


def _check_tilt(
    folder: Path, tilt_mm: float, distances: NDArray[np.float64], rules: ReadRules
) -> tuple[Note, ...]:
    """Accept what rounding of the header explains (1 % of a slice over the stack, or 0.1°);
    else resample or refuse.
    """
    height = float(distances[-1] - distances[0])
    degrees = float(np.degrees(np.arctan2(tilt_mm, height)))
    if degrees <= TILT_DEGREES:
        return ()
    if rules.gantry_tilt == "resample":
        text = f"slices sheared by {degrees:.2f} degrees (gantry tilt), resampled to an orthogonal grid"
        return (Note(severity="FIX", code="dicom-gantry-tilt", message=text),)
    raise InputError(
        "dicom-gantry-tilt",
        "slices are not stacked at right angles",
        where=folder.name,
        got=f"{degrees:.2f} degrees of tilt",
        expected=f"at most {TILT_DEGREES:g}",
        todo="Set gantry_tilt to resample.",
    )


def _note_ignored(listing: Listing) -> tuple[Note, ...]:
    if not listing.ignored:
        return ()
    text = ", ".join(f"{count} × {reason}" for reason, count in listing.ignored.items())
    return (Note(severity="INFO", code="dicom-ignored", message=f"files set aside: {text}"),)


def _flags(stack: Sequence[Slice]) -> tuple[Note, ...]:
    notes = []
    if any(s.burned_in for s in stack):
        notes.append(
            Note(
                severity="FLAG",
                code="dicom-burned-in",
                message="BurnedInAnnotation is YES: pixels may show a name",
            )
        )
    relabelled = sum(s.stored.relabelled for s in stack)
    if relabelled:
        text = f"meta header of {relabelled} slices names no encoding or another: read as the data have it"
        notes.append(Note(severity="FIX", code="dicom-encoding", message=text))
    if len({(s.slope or 1.0, s.intercept or 0.0) for s in stack}) > 1:
        notes.append(
            Note(
                severity="INFO",
                code="dicom-rescale",
                message="slope and intercept differ and are applied slice by slice",
            )
        )
    return tuple(notes)


def orthogonalize(geometry: Geometry) -> Geometry:
    """Return the grid with slices stacked at right angles that covers a sheared `geometry`,
    same spacing in plane.
    """
    affine = geometry.affine
    x, y = affine[:3, 0], affine[:3, 1]
    normal = np.cross(x, y) / np.linalg.norm(np.cross(x, y))
    straight = affine.copy()
    straight[:3, 2] = normal * np.dot(affine[:3, 2], normal)
    grid = Geometry.from_affine(geometry.shape, straight)
    reach = grid.lps_to_index(geometry.corners_lps())
    low, high = np.floor(reach.min(axis=0) + 1e-6).astype(int), np.ceil(reach.max(axis=0) - 1e-6).astype(int)
    a, b, c = (int(v) for v in low)
    d, e, f = (int(v) for v in high - low + 1)
    return grid.crop((a, b, c), (d, e, f))


def without_pixels(stack: Stack) -> Stack:
    """Return the stack with the geometry that its image will have after resampling."""
    return replace(stack, geometry=orthogonalize(stack.geometry)) if stack.tilted else stack
