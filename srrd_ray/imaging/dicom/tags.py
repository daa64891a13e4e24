"""Values of DICOM tags as the reader wants them: numbers, sides, scales, the allow-listed technique."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from pydicom.dataset import Dataset, FileDataset

NUMBERS = (
    "KVP", "SliceThickness", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle",
    "MagneticFieldStrength",
    "XRayTubeCurrent", "Exposure", "ReconstructionDiameter", "PixelBandwidth", "EchoTrainLength",
)  # fmt: skip
CODES = {
    "Modality": r"CT|MR",
    "ScanningSequence": r"(SE|IR|GR|EP|RM)(/(SE|IR|GR|EP|RM))*",
    "SequenceVariant": r"(SK|MTC|SS|TRSS|SP|MP|OSP|NONE|TOF)(/(SK|MTC|SS|TRSS|SP|MP|OSP|NONE|TOF))*",
    "MRAcquisitionType": r"2D|3D",
    "PatientPosition": r"[HF]F(S|P|DR|DL)",
    "ConvolutionKernel": r"(STANDARD|SOFT|LUNG|DETAIL|EDGE|CHEST|BONE(PLUS)?|FC\d{2}"
    r"|[BHIUTQJ][a-z]?\d{2}[a-z]?|[A-ELY][A-C]?)(/\d)?",
}
_MAKERS = (
    "SIEMENS",
    "GE",
    "PHILIPS",
    "CANON",
    "TOSHIBA",
    "HITACHI",
    "FUJI",
    "CURVEBEAM",
    "PLANMED",
    "UNITED IMAGING",
)


def real_world(get: Callable[[str], object], dataset: FileDataset) -> tuple[float, float] | None:
    """Return slope and intercept of a frame's or file's first RealWorldValueMapping, none without one."""
    mappings = dataset.get("RealWorldValueMappingSequence") or [Dataset()]
    slope, intercept = (
        _float(get(keyword) or value_of(mappings[0], keyword))
        for keyword in ("RealWorldValueSlope", "RealWorldValueIntercept")
    )
    return None if slope is None else (slope, intercept or 0.0)


def value_of(source: Dataset, keyword: str) -> object:
    """Return the value of a tag, none where it is absent or not of its kind (a name for a number)."""
    try:
        value: object = source.get(keyword)
    except (ValueError, TypeError, OverflowError):
        return None
    return value


def as_list(value: object) -> list[object]:
    """Return the values of a tag, one or many."""
    if value is None or isinstance(value, str):
        return [value] if value else []
    return list(value) if hasattr(value, "__iter__") else [value]


def numbers(value: object, count: int) -> tuple[float, ...] | None:
    """Return the numbers of a tag, none where they are not `count`."""
    found = tuple(number for number in (_float(part) for part in as_list(value)) if number is not None)
    return found if len(found) == count else None


def _float(value: object) -> float | None:
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None


def finite_number(value: object) -> float | None:
    """Return the number of a tag, none where it is absent, no number or not finite."""
    number = _float(value)
    return number if number is not None and math.isfinite(number) else None


def named_sides(get: Callable[[str], object], dataset: FileDataset) -> frozenset[str]:
    """Return the sides, L or R, that the header names in coded tags or as a whole word of a description."""
    found = {
        str(get(tag) or "").upper()[:1] for tag in ("ImageLaterality", "FrameLaterality", "Laterality")
    } & {
        "L",
        "R",
    }
    texts = " ".join(
        str(dataset.get(tag, "")) for tag in ("SeriesDescription", "StudyDescription", "ProtocolName")
    )
    words = {word[0] for word in re.findall(r"[A-Z]+", texts.upper()) if word in {"LEFT", "RIGHT"}}
    return frozenset(found | (words if len(words) == 1 else set()))


def technique_of(get: Callable[[str], object], dataset: FileDataset) -> dict[str, str]:
    """Return allow-listed acquisition values; text only where it is one of the expected codes."""
    kept = {name: f"{number:g}" for name in NUMBERS if (number := finite_number(get(name))) is not None}
    for name, pattern in CODES.items():
        text = "/".join(str(part) for part in as_list(get(name)))
        if re.fullmatch(pattern, text):
            kept[name] = text
    effective = _float(get("EffectiveEchoTime"))
    if effective is not None:
        kept["EchoTime"] = f"{effective:g}"
    maker = str(dataset.get("Manufacturer", "")).upper()
    known = [name for name in _MAKERS if maker.startswith(name)]
    return kept | ({"Manufacturer": known[0]} if known else {})
