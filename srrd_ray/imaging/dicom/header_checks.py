"""What the headers of a stack have to say before it is read: geometry, one grid, one frame, its unit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Modality, Side, Unit
from srrd_ray.imaging.dicom.files import Slice
from srrd_ray.imaging.source import MAX_SPACING_MM, Note, ReadRules, spacing_error

NOT_UNIT = 1e-2
"""How far products of direction cosines may be from those of unit vectors: some writers keep two digits."""
SAME_SPACING = 1e-4
"""Share by which pixel spacings of slices may differ by rounding."""
HOUNSFIELD = {"", "HU", "US"}
"""RescaleType of a CT in Hounsfield units; US is unspecified."""
KNEE_PARTS = {
    "",
    "KNEE",
    "LKNEE",
    "RKNEE",
    "KNEELEFT",
    "KNEERIGHT",
    "EXTREMITY",
    "LEG",
    "LOWEREXTREMITY",
    "LOWERLIMB",
}


def check_header(folder: Path, stack: list[Slice]) -> None:
    """Refuse (`dicom-tag-missing`, `dicom-mixed-slices`, …) slices that make no volume."""
    _check_mosaic(folder, stack)
    for tag, name in (
        ("ImagePositionPatient", "position"),
        ("ImageOrientationPatient", "orientation"),
        ("PixelSpacing", "spacing"),
        ("Rows and Columns", "shape"),
    ):
        missing = [item for item in stack if getattr(item, name) is None]
        if missing:
            raise InputError(
                "dicom-tag-missing",
                f"{tag} is missing or broken",
                where=f"{folder.name}, {missing[0].name}",
                got=f"{len(missing)} of {len(stack)} slices without it",
                todo="Export the series again with its geometry; it cannot be guessed.",
            )
    _check_turns(folder, stack)
    _check_same(folder, stack)


def _check_mosaic(folder: Path, stack: list[Slice]) -> None:
    """Refuse (`dicom-mosaic`) files that hold many slices side by side in one picture."""
    tiled = [item for item in stack if "MOSAIC" in item.kinds]
    if tiled:
        raise InputError(
            "dicom-mosaic",
            "each file holds many slices side by side (a Siemens mosaic)",
            where=f"{folder.name}, {tiled[0].name}",
            got=f"{len(tiled)} of {len(stack)} files with MOSAIC in ImageType",
            todo="Convert it to NIfTI with dcm2niix, or export it as enhanced or single-slice DICOM.",
        )


def _check_turns(folder: Path, stack: list[Slice]) -> None:
    """Refuse (`dicom-orientation`) direction cosines that are no two unit vectors at right angles."""
    for item in stack:
        turned = np.array(item.orientation, dtype=np.float64).reshape(2, 3)
        if not np.abs(turned @ turned.T - np.eye(2)).max() <= NOT_UNIT:
            raise InputError(
                "dicom-orientation",
                "ImageOrientationPatient is no pair of unit vectors at right angles",
                where=f"{folder.name}, {item.name}",
                got=str(np.round(turned.ravel(), 5).tolist()),
                expected=f"within {NOT_UNIT:g}",
                todo="Export the series again with its geometry; it cannot be guessed.",
            )


def _check_same(folder: Path, stack: list[Slice]) -> None:
    """Refuse slices of another matrix, spacing or frame of reference."""
    spacing = stack[0].spacing or ()
    if not all(np.isfinite(v) and 0 < v <= MAX_SPACING_MM for v in spacing):
        raise spacing_error(folder.name, list(spacing))
    common = Counter((s.shape, s.spacing) for s in stack).most_common(1)[0][0]
    odd = [s for s in stack if s.shape != common[0] or not _is_close(s.spacing, common[1])]
    if odd:
        raise InputError(
            "dicom-mixed-slices",
            "slices with another matrix or pixel spacing",
            where=folder.name,
            got=", ".join(f"{s.name}: {s.shape} at {s.spacing} mm" for s in odd[:4]),
            expected=f"{common[0]} at {common[1]} mm",
            todo="Remove what does not belong to the series.",
        )
    frames = {s.reference for s in stack if s.reference}
    if len(frames) > 1:
        raise InputError(
            "dicom-frames-of-reference",
            "slices of several frames of reference",
            where=folder.name,
            got=f"{len(frames)} frames of reference",
            expected="one",
            todo="The patient was moved in between: give one acquisition.",
        )


def _is_close(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> bool:
    return bool(np.allclose(a or (), b or (), rtol=SAME_SPACING, atol=0.0))


def rescaled_unit(
    folder: Path, stack: list[Slice], modality: Modality | None
) -> tuple[Unit, tuple[Note, ...]]:
    """Return the unit of the rescaled values; refuse a CT of a cohort that is not in Hounsfield units."""
    tables = [s for s in stack if s.table]
    if tables:
        raise InputError(
            "dicom-lut", "values go through a table (Modality LUT), which is not applied",
            where=f"{folder.name}, {tables[0].name}", got=f"{len(tables)} of {len(stack)} slices",
            todo="Export the series with RescaleSlope and RescaleIntercept.",
        )  # fmt: skip
    bare = [s for s in stack if not s.rescaled]
    _check_rescaled_alike(folder, stack, bare)
    if stack[0].modality == "mr":
        return "au", _notes_of_signal(bare)
    what, got = _not_hounsfield(stack, bare)
    if not what:
        return "HU", ()
    if modality == "ct":
        raise InputError("dicom-no-rescale", what, where=folder.name, got=got, expected="Hounsfield units")
    return "au", (Note(severity="FLAG", code="dicom-no-rescale", message=f"{what}: {got}"),)


def _check_rescaled_alike(folder: Path, stack: list[Slice], bare: list[Slice]) -> None:
    """Refuse (`dicom-rescale-mixed`) slices on several scales, of which some do not tell theirs."""
    scales = {(s.slope, s.intercept) for s in stack if s.rescaled} - {(1.0, 0.0)}
    mapped = {s.real_world for s in bare}
    if not bare or not (scales or len(mapped) > 1):
        return
    what = "RescaleSlope and RescaleIntercept are missing, 0 or no numbers in some slices"
    if not scales:
        what = "slices without RescaleSlope differ in their RealWorldValueMapping, which is not applied"
    raise InputError(
        "dicom-rescale-mixed", what, where=f"{folder.name}, {bare[0].name}",
        got=f"{len(bare)} of {len(stack)} slices without it", expected="a scale in every slice, or in none",
        todo="Export the series again from its source; the values of these slices cannot be guessed.",
    )  # fmt: skip


def _notes_of_signal(bare: list[Slice]) -> tuple[Note, ...]:
    """Return a FLAG where an MR tells a scale that is not applied."""
    if any(s.slope is not None for s in bare):
        text = "RescaleSlope is 0 or RescaleIntercept is missing: values are taken as stored"
    elif any(s.real_world is not None for s in bare):
        text = "RealWorldValueMapping is not applied: values are taken as stored"
    else:
        return ()
    return (Note(severity="FLAG", code="dicom-no-rescale", message=text),)


def _not_hounsfield(stack: list[Slice], bare: list[Slice]) -> tuple[str, str]:
    """Return why the values of a CT are no Hounsfield units, and what was found; empty where they are."""
    if bare:
        what = "RescaleSlope or RescaleIntercept is missing or no number, so Hounsfield units are unknown"
        return what, f"{len(bare)} of {len(stack)} slices without it, the first of them {bare[0].name}"
    others = sorted({s.rescale_type for s in stack} - HOUNSFIELD)
    if others:
        return "RescaleType names another unit than Hounsfield's", others[0]
    return "", ""


def check_knee(folder: Path, stack: list[Slice], side: Side | None, rules: ReadRules) -> tuple[Note, ...]:
    """Refuse, or flag where the rules say so, another part of the body; refuse the other side."""
    named = frozenset[str]().union(*(s.sides for s in stack))
    if side is not None and named and named != {side}:
        raise InputError(
            "side-contradiction",
            "the header names another side than knees.tsv",
            where=folder.name,
            got=" and ".join(sorted(named)),
            expected=side,
            todo="Find out which is right and correct knees.tsv or the folder.",
        )
    parts = {s.body_part for s in stack} - KNEE_PARTS
    if not parts:
        return ()
    wrong = InputError(
        "not-a-knee",
        "BodyPartExamined names no knee",
        where=folder.name,
        got=sorted(parts)[0] if len(parts) == 1 else f"{len(parts)} body parts",
        expected="KNEE, LEG, EXTREMITY or nothing",
    )
    if rules.not_a_knee == "refuse":
        raise wrong
    return (Note(severity="FLAG", code="knee-doubtful", message=f"{wrong.what}: {wrong.got}"),)
