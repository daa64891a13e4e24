"""What the DICOM series of a simulated knee say: the participant and the settings of the scanner.

All of it follows from the plan.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.records import Modality
from srrd_ray.imaging.dicom.writer import MAKER, SeriesHeader, StoredPixels, Tag
from srrd_ray.simulation import ct, mr
from srrd_ray.simulation.cohort import KneeImages
from srrd_ray.simulation.off_resonance import LARMOR_MHZ
from srrd_ray.simulation.patients import SimulatedKnee

LOWEST_HU = -1024
"""Stored as 0 in 12 bits, as scanners do."""
MODEL: Tag = "SIMULATOR"


def ct_header(plan: SimulatedKnee, images: KneeImages) -> SeriesHeader:
    """Return the header of the simulated CT."""
    protocol = ct.PROTOCOLS[plan.hospital]
    technique: dict[str, Tag] = {
        "ManufacturerModelName": MODEL,
        "KVP": float(ct.tube_kv(protocol)),
        "AcquisitionNumber": 1,
        "ConvolutionKernel": ct.kernel_name(protocol),
        "SliceThickness": protocol.thickness_mm,
        "ReconstructionDiameter": images.ct.geometry.shape[2] * protocol.pixel_mm,
        "ProtocolName": f"knee hospital {plan.hospital}",
    }
    return _header(plan, "ct", ("ORIGINAL", "PRIMARY", "AXIAL"), images.ct.array, technique)


def mr_header(plan: SimulatedKnee, images: KneeImages, sequence: mr.Sequence) -> SeriesHeader:
    """Return the header of the simulated MR."""
    protocol = mr.PROTOCOLS[sequence]
    return _header(plan, "mr", ("ORIGINAL", "PRIMARY", "OTHER"), images.mr.array, _mr_technique(protocol))


def ct_pixels(images: KneeImages) -> StoredPixels:
    """Return the HU as whole numbers from 0 to 4095, and the way back."""
    values = (images.ct.array.astype(np.int32) - LOWEST_HU).astype(np.uint16)
    return StoredPixels(values=values, bits=12, intercept=float(LOWEST_HU))


def mr_pixels(images: KneeImages) -> StoredPixels:
    """Return the magnitudes as they are."""
    return StoredPixels(values=images.mr.array)


def _mr_technique(protocol: mr.MrProtocol) -> dict[str, Tag]:
    echo, variant, kind = mr.SEQUENCE_CODES[protocol.sequence]
    bandwidth: dict[str, Tag] = {"PixelBandwidth": protocol.bandwidth_hz} if protocol.bandwidth_hz else {}
    suppressed: dict[str, Tag] = {"ScanOptions": "FS"} if protocol.fat != "none" else {}
    return (bandwidth | suppressed) | {
        "ManufacturerModelName": MODEL,
        "ScanningSequence": echo,
        "SequenceVariant": variant,
        "MRAcquisitionType": kind,
        "EchoTrainLength": 1,
        "RepetitionTime": protocol.tr,
        "EchoTime": protocol.te,
        "FlipAngle": protocol.flip,
        "MagneticFieldStrength": mr.FIELD_T,
        "ImagedNucleus": "1H",
        "ImagingFrequency": LARMOR_MHZ,
        "NumberOfAverages": 1.0,
        "SliceThickness": protocol.slice_mm,
        "SpacingBetweenSlices": protocol.slice_mm,
        "InPlanePhaseEncodingDirection": "COL",
        "ProtocolName": f"knee sag {protocol.sequence}",
    }


def _header(
    plan: SimulatedKnee,
    modality: Modality,
    image_type: tuple[str, ...],
    values: NDArray[np.generic],
    technique: dict[str, Tag],
) -> SeriesHeader:
    study = (MAKER, "simulated", str(plan.seed), plan.knee.key, modality)
    content = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return SeriesHeader(
        modality=modality,
        patient=f"sub-{plan.knee.participant}",
        side=plan.knee.side,
        image_type=image_type,
        description=f"simulated {modality}",
        study=(*study, "study"),
        frame=(*study, content),
        series=(*study, content),
        technique=technique,
    )
