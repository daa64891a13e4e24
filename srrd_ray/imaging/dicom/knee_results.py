"""The results of a knee in DICOM, in the study of its CT: segmentations, maps and a structured report."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.imaging.dicom.findings import KneeFindings
from srrd_ray.imaging.dicom.instance import Results
from srrd_ray.imaging.dicom.library_warnings import quiet
from srrd_ray.imaging.dicom.maps_out import write_map
from srrd_ray.imaging.dicom.report_out import write_report
from srrd_ray.imaging.dicom.segments_out import write_bones, write_regions
from srrd_ray.imaging.dicom.source_series import SourceSeries
from srrd_ray.storage.atomic import replacing

FOLDER: Final = "dicom"


def write_knee_results(folder: Path, source: SourceSeries, findings: KneeFindings) -> tuple[Path, ...]:
    """Return the files in `folder`, which is whole or absent.

    Patient and study are those of the CT: keep them as you keep the CT.
    """
    results = Results.of(source, findings)
    with replacing(folder) as temporary, quiet():
        temporary.mkdir(parents=True)
        bones, regions = write_bones(temporary, results), write_regions(temporary, results)
        maps = [write_map(temporary, results, symbol) for symbol in PARAMETERS]
        write_report(temporary, results, regions, [bones, *maps])
        names = sorted(path.name for path in temporary.iterdir())
    return tuple(folder / name for name in names)
