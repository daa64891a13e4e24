"""The files of one knee that was read: NIfTI and tables always, and what else was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from srrd_ray.core.bones import BONE_LABELS, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.records import Compartment, Side
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom import knee_results
from srrd_ray.imaging.dicom.findings import Algorithm, KneeFindings, Region
from srrd_ray.imaging.dicom.source_series import NO_UIDS, SourceSeries, read_source_series
from srrd_ray.imaging.images import image_format
from srrd_ray.imaging.nifti_writer import write_nifti
from srrd_ray.imaging.source import Note
from srrd_ray.patches.painting import paint
from srrd_ray.stages.shared import data_dictionary
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.viewer_zarr import is_along_lps, write_for_viewers

ResultFormat: TypeAlias = Literal["nifti", "dicom", "omezarr"]
VIEWERS = "omezarr"
"""The folder of what viewers lay over each other."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReadKnee:
    """One knee that was read.

    Parameters
    ----------
    bones_given
        Whether the bones are the user's own.
    cubes, regions
        The tables: a row a cube, and a row a bone and compartment.
    cautions
        What a reader has to know, one sentence each.
    """

    side: Side
    ct: Volume[np.int16] | Volume[np.float32]
    bones: Volume[np.uint8]
    bones_given: bool
    maps: Mapping[ParameterSymbol, Volume[np.float32]]
    cubes: pd.DataFrame
    regions: pd.DataFrame
    algorithm: Algorithm
    cautions: tuple[str, ...]


def find_source(ct: Path, wanted: tuple[ResultFormat, ...]) -> tuple[SourceSeries | None, tuple[Note, ...]]:
    """Return the series that results in DICOM belong to, null where there are to be none, and doubts.

    Where neither NIfTI nor DICOM is `wanted` by name a DICOM series has results in DICOM, no other CT has.

    Raises
    ------
    InputError
        Where they are wanted by name: `results-no-dicom` for a CT in another format, `dicom-no-uid`.
    """
    if set(wanted) - {"omezarr"} and "dicom" not in wanted:
        return None, ()
    with local_copy(ct) as here:
        if image_format(here) == "dicom":
            return _read_source(here, wanted)
    if "dicom" not in wanted:
        return None, ()
    raise InputError(
        "results-no-dicom", "results in DICOM belong to the study of a DICOM series, and this CT is none",
        where=ct.name, todo="Leave out --formats: then each CT has the formats that it can have.",
    )  # fmt: skip


def _read_source(ct: Path, wanted: tuple[ResultFormat, ...]) -> tuple[SourceSeries | None, tuple[Note, ...]]:
    try:
        return read_source_series(ct), ()
    except InputError as error:
        if "dicom" in wanted or error.code != NO_UIDS:
            raise
        text = f"no results in DICOM: {error.what} ({error.got})"
        return None, (Note(severity="FLAG", code=error.code, message=text),)


def note_oblique(grid: Geometry, wanted: tuple[ResultFormat, ...]) -> tuple[Note, ...]:
    """Return that results for viewers are resampled, where they are wanted of a CT on an oblique grid."""
    if "omezarr" not in wanted or is_along_lps(grid):
        return ()
    text = (
        "OME-Zarr has no rotation: CT, bones and maps in it are resampled to a grid along the patient's axes"
    )
    return (Note(severity="FIX", code="results-oblique", message=text),)


def write_knee(
    out: Path, knee: ReadKnee, source: SourceSeries | None, wanted: tuple[ResultFormat, ...]
) -> tuple[Path, ...]:
    """Return the files of a knee: maps and bones as NIfTI, tables with what they mean, and other formats.

    Those in DICOM where there is a `source`, those for viewers where they are `wanted`.
    """
    written = (*_write_nifti(out, knee), *_write_tables(out, knee))
    if source is not None:
        written += knee_results.write_knee_results(out / knee_results.FOLDER, source, _findings(knee))
    return written + _write_for_viewers(out / VIEWERS, knee) if "omezarr" in wanted else written


def _write_for_viewers(folder: Path, knee: ReadKnee) -> tuple[Path, ...]:
    maps = {PARAMETER_OF[symbol].file_stem: volume for symbol, volume in knee.maps.items()}
    return (
        write_for_viewers(folder / "ct.ome.zarr", knee.ct, "ct", "image"),
        write_for_viewers(folder / "bones.ome.zarr", knee.bones, "bones", "labels"),
        *(write_for_viewers(folder / f"{stem}.ome.zarr", maps[stem], stem, "map") for stem in maps),
    )


def _write_nifti(out: Path, knee: ReadKnee) -> tuple[Path, ...]:
    files = {symbol: out / f"{PARAMETER_OF[symbol].file_stem}.nii.gz" for symbol in knee.maps}
    for symbol, volume in knee.maps.items():
        write_nifti(files[symbol], volume)
    labels = out / "bones.nii.gz"
    write_nifti(labels, knee.bones)
    return (*files.values(), labels)


def _write_tables(out: Path, knee: ReadKnee) -> tuple[Path, ...]:
    regions, cubes = data_dictionary.regions_table(), data_dictionary.cubes_table()
    about = out / data_dictionary.FILE
    written = (
        *data_dictionary.write_rows(out, regions, knee.regions),
        *data_dictionary.write_rows(out, cubes, knee.cubes),
    )
    data_dictionary.write_dictionary(about, regions, cubes)
    return (*written, about)


def _findings(knee: ReadKnee) -> KneeFindings:
    return KneeFindings(
        side=knee.side,
        bones=knee.bones,
        bones_given=knee.bones_given,
        regions=tuple(_region(knee, row) for row in knee.regions.to_dict("records")),
        maps=knee.maps,
        algorithm=knee.algorithm,
        cautions=knee.cautions,
    )


def _region(knee: ReadKnee, row: Mapping[str, object]) -> Region:
    """Return the region of one row: where a map is painted from the cubes of that compartment alone."""
    bone: BoneName = row["bone"]  # type: ignore[assignment]  # as the table of regions has it
    compartment: Compartment = row["compartment"]  # type: ignore[assignment]  # as above
    own = knee.cubes[(knee.cubes["bone"] == bone) & (knee.cubes["compartment"] == compartment)]
    mask = Volume(array=knee.bones.array == BONE_LABELS[bone], geometry=knee.bones.geometry)
    centres = own[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)
    return Region(
        bone=bone,
        compartment=compartment,
        mask=np.isfinite(paint(centres, np.ones(len(centres)), mask).array),
        cubes=len(own),
        means={symbol: float(str(row[symbol])) for symbol in PARAMETERS},
        sds={symbol: float(str(row[PARAMETER_OF[symbol].cubes_sd])) for symbol in PARAMETERS},
    )
