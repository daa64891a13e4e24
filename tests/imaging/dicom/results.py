"""Findings in a small CT, with values that tell where they are."""

from __future__ import annotations

import numpy as np

from srrd_ray.core.bones import BONE_LABELS, BONES
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom.findings import Algorithm, KneeFindings, Region


def findings(geometry: Geometry, *, simulated: bool = True) -> KneeFindings:
    """Return a femur above a tibia, each read at its joint, medial and lateral."""
    z, _, x = np.indices(geometry.shape)
    bones = np.zeros(geometry.shape, np.uint8)
    bones[2:5, 3:-3, 2:-2], bones[7:10, 2:-2, 3:-3] = BONE_LABELS["tibia"], BONE_LABELS["femur"]
    bones[8, 0, 0] = BONE_LABELS["femur"]
    near = np.isin(z, (4, 7)) & (bones > 0)
    maps = {
        symbol: np.where(near, PARAMETER_OF[symbol].support[0] + 0.01 * (n + 1) + x / 100.0, np.nan)
        for n, symbol in enumerate(PARAMETERS)
    }
    half = x < geometry.shape[2] // 2
    regions = tuple(
        Region(
            bone=bone,
            compartment=compartment,
            mask=near & (bones == BONE_LABELS[bone]) & (half == (compartment == "medial")),
            cubes=7 + len(compartment),
            means={symbol: 1 / 3 + n for n, symbol in enumerate(PARAMETERS)},
            sds={symbol: 1e-3 / 7 * (n + 1) for n, symbol in enumerate(PARAMETERS)},
        )
        for bone in BONES
        for compartment in COMPARTMENTS
    )
    return KneeFindings(
        side="L",
        bones=Volume(array=bones, geometry=geometry),
        bones_given=False,
        regions=regions,
        maps={s: Volume(array=maps[s].astype(np.float32), geometry=geometry) for s in PARAMETERS},
        algorithm=Algorithm(name="distilled", sha256="a1" * 32, simulated=simulated),
        cautions=("outside the training images: kernel",),
    )
