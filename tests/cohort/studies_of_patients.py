"""A folder of studies as a hospital exports it: every series made for real, of knees that pass the check."""

from __future__ import annotations

from pathlib import Path
from typing import Any  # values of DICOM tags are of many kinds

import numpy as np
from pydicom.dataset import Dataset

from srrd_ray.imaging.dicom.files import CT, MR
from tests.imaging import makers


def scan(
    folder: Path, patient: str, number: int, modality: str = "CT", *, images: int = 16, **tags: Any
) -> list[Path]:
    """Write one series of a patient and return its files; `tags` replace those of the header."""

    def edit(_: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.PatientName = patient, f"NAME OF {patient}"
        dataset.SeriesNumber, dataset.SeriesDescription = number, "knee"
        dataset.StudyDescription = dataset.ProtocolName = ""
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    own = sum(map(ord, patient)) * 100 + number
    bone = makers.bone().transpose(2, 1, 0)[:images] + np.int16(own % 90)
    values = bone if modality == "CT" else (bone + 1000).astype(np.uint16)
    kind = CT if modality == "CT" else MR
    return makers.series(folder, values=np.ascontiguousarray(values), kind=kind, uid=str(own), edit=edit)


def pair(root: Path, patient: str, side: str = "L") -> None:
    """Write CT and MR of one knee, its side in a coded tag."""
    scan(root / patient / "study" / "a", patient, 1, Laterality=side)
    scan(root / patient / "study" / "b", patient, 2, "MR", Laterality=side)
