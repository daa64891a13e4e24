"""Parameter maps as DICOM Parametric Maps: 32-bit floats on the frames of the CT, in UCUM units.

Where nothing was read a pixel is NaN, as in the NIfTI: part 5 of the standard, section 8, has IEEE 754's NaN
among the values of Float Pixel Data. Slices without any value are left out.

dcmqi, with which 3D Slicer reads maps, takes frames for slices in the order of their normal, and crashes
where the anatomy of the frames is not said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from highdicom import VOILUTFunctionValues, VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, Parameter, ParameterSymbol
from srrd_ray.core.records import Side
from srrd_ray.imaging.dicom.codes import parameter_code, unit_code
from srrd_ray.imaging.dicom.frames import place
from srrd_ray.imaging.dicom.instance import Results, save

SERIES: Final = "parameter maps"
SERIES_NUMBER: Final = 9702


def write_map(folder: Path, results: Results, symbol: ParameterSymbol) -> ParametricMap:
    """Return the map of one parameter after writing it."""
    parameter = PARAMETER_OF[symbol]
    array = results.source.expand(results.findings.maps[symbol], np.nan).array
    low, high = parameter.support
    written = ParametricMap(
        **place(results.source, array, np.isfinite(array)),
        **results.identify(SERIES, parameter.file_stem, (SERIES_NUMBER, PARAMETERS.index(symbol) + 1)),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_identity(parameter)],
        voi_lut_transformations=[
            VOILUTTransformation(
                window_center=(low + high) / 2,
                window_width=high - low,
                voi_lut_function=VOILUTFunctionValues.LINEAR_EXACT,
            )
        ],
        content_label=parameter.file_stem.upper(),
        content_description=f"{parameter.name} ({parameter.unit or 'no unit'}), predicted",
    )
    written.BodyPartExamined, written.ContentCreatorName = "KNEE", ""
    _set_anatomy(written, results.findings.side)
    _sort_frames(written)
    save(folder / f"{parameter.file_stem}.dcm", written, results)
    return written


def _set_anatomy(written: ParametricMap, side: Side) -> None:
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(codes.SCT.Knee)]
    anatomy.FrameLaterality = side
    written.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]


def _sort_frames(written: ParametricMap) -> None:
    """Put the frames in the order of the normal of their slices; the library has them against it."""
    groups = list(written.PerFrameFunctionalGroupsSequence)
    cosines = written.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    normal = np.cross(*np.array(cosines, np.float64).reshape(2, 3))
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    order = np.argsort(np.array(places, np.float64) @ normal)
    pixels = np.frombuffer(written.FloatPixelData, np.uint8).reshape(len(groups), -1)
    written.FloatPixelData = pixels[order].tobytes()
    written.PerFrameFunctionalGroupsSequence = [groups[n] for n in order]
    for k, group in enumerate(written.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].DimensionIndexValues = k + 1


def _identity(parameter: Parameter) -> RealWorldValueMapping:
    """Return the mapping that says: stored values are those of the parameter, in its unit."""
    return RealWorldValueMapping(
        lut_label=parameter.symbol,
        lut_explanation=f"{parameter.name}, NaN where it was not read",
        unit=unit_code(parameter),
        value_range=parameter.support,
        slope=1.0,
        intercept=0.0,
        quantity_definition=parameter_code(parameter.symbol),
    )
