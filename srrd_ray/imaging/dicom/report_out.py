"""The values of a knee as a DICOM Structured Report: TID 1500, a measurement group a region."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.imaging.dicom.codes import (
    BONE_CODES,
    COMPARTMENT_CODES,
    CUBE,
    CUBES,
    SIDE_CODES,
    SUBCHONDRAL,
    parameter_code,
    unit_code,
)
from srrd_ray.imaging.dicom.findings import Region
from srrd_ray.imaging.dicom.instance import Results, save
from srrd_ray.imaging.dicom.writer import MAKER

SERIES: Final = "measurements"
SERIES_NUMBER: Final = 9703
FILE: Final = "measurements.dcm"


def write_report(
    folder: Path, results: Results, regions: Dataset, others: Sequence[Dataset]
) -> sr.Comprehensive3DSR:
    """Return the report after writing it; its groups refer to the segments of `regions`."""
    groups = [
        _group(results, region, regions, number + 1) for number, region in enumerate(results.findings.regions)
    ]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_device(results)),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    for text in results.findings.warnings:  # before the measurements
        content[0].ContentSequence.insert(-1, _comment(text))
    report = sr.Comprehensive3DSR(
        evidence=[*results.source.images, regions, *others],
        content=content[0],
        **results.identify(SERIES, Path(FILE).stem, (SERIES_NUMBER, 1)),
        is_complete=True,
    )
    save(folder / FILE, report, results)
    return report


def _comment(text: str) -> sr.TextContentItem:
    return sr.TextContentItem(
        name=codes.DCM.Comment, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )


def _device(results: Results) -> sr.ObserverContext:
    algorithm = results.findings.algorithm
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=results.uid("device"),
            name=f"{MAKER} infer",
            manufacturer_name=MAKER,
            model_name=f"{algorithm.name} {algorithm.version}",
            serial_number=algorithm.sha256,
        ),
    )


def _group(
    results: Results, region: Region, regions: Dataset, number: int
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=results.uid(region.name, "tracking"), identifier=region.name
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=regions.SOPClassUID,
            sop_instance_uid=regions.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(results.source.images[0].SeriesInstanceUID),
        ),
        finding_category=codes.SCT.AnatomicalStructure,
        finding_type=SUBCHONDRAL,
        finding_sites=[
            sr.FindingSite(
                anatomic_location=BONE_CODES[region.bone],
                laterality=SIDE_CODES[results.findings.side],
                topographical_modifier=COMPARTMENT_CODES[region.compartment],
            )
        ],
        algorithm_id=sr.AlgorithmIdentification(
            name=f"{MAKER} {results.findings.algorithm.name}",
            version=results.findings.algorithm.version,
            parameters=[f"model_sha256={results.findings.algorithm.sha256}"],
        ),
        measurements=list(_measurements(region)),
    )


def _measurements(region: Region) -> Iterator[sr.Measurement]:
    """Yield mean and SD of each parameter over the cubes, and how many those are."""
    yield sr.Measurement(name=CUBES, value=region.cubes, unit=CUBE)
    for symbol in PARAMETERS:
        statistics = ((codes.SCT.Mean, region.means), (codes.SCT.StandardDeviation, region.sds))
        for derivation, values in statistics:
            yield sr.Measurement(
                name=parameter_code(symbol),
                value=float(values[symbol]),
                unit=unit_code(PARAMETER_OF[symbol]),
                derivation=derivation,
            )
