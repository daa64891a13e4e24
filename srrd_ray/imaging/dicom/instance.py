"""One file of results: its identity, derived from what it is made of, and nothing of the clock.

The same findings of the same CT are the same bytes. Dates are those of the CT.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.uid import UID

from srrd_ray import __version__
from srrd_ray.core.hashing import hash_json
from srrd_ray.imaging.dicom.codes import scheme_of_our_own
from srrd_ray.imaging.dicom.findings import KneeFindings
from srrd_ray.imaging.dicom.source_series import SourceSeries
from srrd_ray.imaging.dicom.writer import MAKER, make_uid

NO_DATE = ("19000101", "000000")
"""Date and time of results of a CT without dates: the standard wants one, and the clock's would differ."""
DATES = ("Content", "Acquisition", "Series", "Study")


class Identity(TypedDict):
    """What every kind of result is given."""

    series_instance_uid: UID
    series_number: int
    sop_instance_uid: UID
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str
    series_description: str
    content_date: str
    content_time: str
    coding_schemes: list[CodingSchemeIdentificationItem]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Results:
    """All results of one knee in the study of one CT, and what their UIDs derive from."""

    source: SourceSeries
    findings: KneeFindings
    digest: str

    @classmethod
    def of(cls, source: SourceSeries, findings: KneeFindings) -> Results:
        """Return the results of a CT."""
        digest = hash_json([__version__, source.instances, findings.digest()])
        return cls(source=source, findings=findings, digest=digest)

    def uid(self, *names: str) -> UID:
        """Return the UID of a thing among the results."""
        return make_uid(MAKER, self.digest, *names)

    def identify(self, series: str, name: str, number: tuple[int, int]) -> Identity:
        """Return the identity of the file `name`; `number` is that of its series, and its own in it."""
        algorithm = self.findings.algorithm
        date, time = _date_of(self.source.images[0])
        taught = ", SIMULATED TRAINING" if algorithm.simulated else ""
        return Identity(
            series_instance_uid=self.uid(series, "series"),
            series_number=number[0],
            sop_instance_uid=self.uid(name, "instance"),
            instance_number=number[1],
            manufacturer=MAKER,
            manufacturer_model_name=algorithm.name,
            software_versions=__version__,
            device_serial_number=algorithm.sha256[:16],
            series_description=f"{MAKER} {series}, RESEARCH ONLY{taught}",
            content_date=date,
            content_time=time,
            coding_schemes=[scheme_of_our_own()],
        )


def save(path: Path, dataset: Dataset, results: Results) -> Path:
    """Return `path` after writing a result without the random UIDs and times of creation of the library."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in dataset:
            del dataset[keyword]
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.pop("ContributionDateTime", None)  # of the library; that of the scanner stands in the CT
    dimensions = results.uid(path.name, "dimensions")
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, []):
            item.DimensionOrganizationUID = dimensions
    dataset.save_as(path, enforce_file_format=True)
    return path


def _date_of(header: Dataset) -> tuple[str, str]:
    """Return the first date of the CT that is known, with its time."""
    for name in DATES:
        date = str(header.get(f"{name}Date") or "")
        if date:
            return date, str(header.get(f"{name}Time") or NO_DATE[1])
    return NO_DATE
