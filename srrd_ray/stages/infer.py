"""One knee from CT alone: maps of the predicted parameters, a table by region, and a page.

A knee unlike those of the training is flagged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core import serial
from srrd_ray.core.bones import BONE_LABELS, BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import hash_json, hash_voxels
from srrd_ray.core.json_tree import at
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.execution.sidecars import input_hash
from srrd_ray.imaging.bone_masks import read_bone_masks
from srrd_ray.imaging.dicom.findings import Algorithm
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.source import Note, SourceImage
from srrd_ray.knee_bones.find import DEFAULT, FoundBones, find_bones, require_known_side
from srrd_ray.knee_bones.segmenter_files import hash_segmenter
from srrd_ray.patches import PatchConfig
from srrd_ray.patches.painting import paint
from srrd_ray.report.infer_page import Inference, ModelFacts, render_inference
from srrd_ray.stages.classify import DiagnosisModels, features_of
from srrd_ray.stages.shared import data_dictionary
from srrd_ray.stages.shared.domain import DomainCheck, check_domain
from srrd_ray.stages.shared.expected import expected_beside, read_expected
from srrd_ray.stages.shared.knee_files import ReadKnee, ResultFormat, find_source, note_oblique, write_knee
from srrd_ray.stages.shared.model_facts import READERS, SIMULATED, TAUGHT
from srrd_ray.stages.shared.model_figures import diagnosis_of, read_metrics
from srrd_ray.stages.shared.models import CARD, Model, load_model, require_card
from srrd_ray.stages.shared.precision import PRECISION, read_precision
from srrd_ray.stages.shared.reading import KneeReading, NotMeasured, read_knee
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.record_files import read_record, write_record

NAME = "infer"
PAGE, RECORD, REGIONS = "report.html", "inference.json", data_dictionary.REGIONS
_HARMLESS = re.compile(
    r"sub-[a-z0-9]{1,12}|side-[lr]|left|right|knee|image|img|ct|scan|series|axial|\d{1,3}(mm)?"
    r"|nii|gz|nrrd|nhdr|mha|mhd|ome|zarr",
    re.I,
)
LABELS = {
    "measured": "values measured on the MR of its patients",
    "reader": "what readers, which learnt from simulated knees alone, read in MR and CT of its patients",
}
OF_SCHOOL = "the true values of simulated knees"
DENSE = PatchConfig(per_region=60, pitch_mm=4.0, radius_mm=12.0, layers=2, min_bone_fraction=0.7)
"""Cubes of an inference overlap, so that the maps are smooth where bone allows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceRecord:
    """``inference.json``: what was read, by which model, and whether it may be trusted.

    Parameters
    ----------
    in_distribution
        False where the scan lies outside the training images in any of the `checks`; `flags` says why.
    probability
        Of osteoarthritis, by the diagnosis model in the folder of `model`; null where there is none, a
        compartment is missing, or the scan lies outside.
    ct_sha256
        Of the voxels in order along LPS: the same in every format.
    technique
        Allow-listed acquisition values of the CT's header.
    """

    side: Side
    model_sha256: dict[str, str]
    in_distribution: bool
    distance: float
    flags: tuple[str, ...]
    cubes: int
    cubes_outside_volume: int
    cubes_outside_bone: int
    probability: float | None
    ct_sha256: str = ""
    technique: dict[str, str] = field(default_factory=dict)
    checks: tuple[DomainCheck, ...] = ()
    not_measured: tuple[NotMeasured, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceModel:
    """The folder of a trained model, and the hash of all that a reading depends on in it.

    That is ``RUN/models/distilled`` (or ``baseline``) of a run, and beside it the classifier and what to
    expect of its values, where they are there. `simulated` says whether the run is known to have learnt from
    simulated knees.
    """

    folder: Path
    sha256: str
    simulated: bool = False

    @classmethod
    def at(cls, folder: Path) -> InferenceModel:
        """Return the model in a folder.

        Raises
        ------
        ConfigError
            `model-missing`.
        """
        files = [require_card(folder), diagnosis_of(folder), expected_beside(folder), folder / PRECISION]
        simulated = _learnt_from_simulated(folder)
        hashes = [hash_file(file) for file in files if file.is_file()]
        return cls(folder=folder, sha256=hash_json([*hashes, simulated]), simulated=simulated)


@dataclass(frozen=True, kw_only=True, slots=True)
class BoneMask:
    """The user's own mask of a knee: a file or a folder, and which label is which bone, where given."""

    path: Path
    labels: tuple[tuple[BoneName, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How one knee is read.

    Parameters
    ----------
    side
        L or R; where None, the side that the names in the mask say, else the side that the fibula shows.
    mask
        The bones, where they are not to be found in the CT.
    formats
        Of the results beside NIfTI and tables; without NIfTI and DICOM, DICOM where the CT is a DICOM series.
    """

    side: Side | None = None
    mask: BoneMask | None = None
    formats: tuple[ResultFormat, ...] = ()


def hash_inputs(model: InferenceModel, options: Options, images: Sequence[str]) -> str:
    """Return the input hash of one reading; `images` are the hashes of the CT and of the mask, if any."""
    settings = hash_json([serial.to_json(DENSE), serial.to_json(DEFAULT)])
    weights = [hash_segmenter(DEFAULT.segmenter)] if DEFAULT.by != "rules" else []
    how = [f"side {options.side}", f"formats {','.join(sorted(options.formats))}"]
    return input_hash(NAME, settings, [model.sha256, *how, *weights, *images])


def infer(ct: Path, model: InferenceModel, out: Path, options: Options) -> tuple[Path, ...]:
    """Return all files written for one knee.

    In the folder `out` they are the maps (NIfTI), `bones.nii.gz`, the tables `table` and `cubes` (CSV and
    Parquet) with `dictionary.json`, the folder `dicom`, `inference.json`, and the page `report.html`, which
    is written last.

    Parameters
    ----------
    ct
        NIfTI, NRRD, MHA, OME-Zarr or a DICOM folder, in Hounsfield units.

    Raises
    ------
    InputError
        Any fault of the image or the mask; as `find_bones`; `side-unknown`, `patches-none`,
        `results-no-dicom`, `dicom-no-uid`.
    StoreError
        `model-missing`, `model-altered`.
    """
    series, doubts = find_source(ct, options.formats)
    source = read_image(ct, "ct", side=options.side)
    doubts += note_oblique(source.volume.geometry, options.formats)
    known = _bones(source.volume, options.side, options.mask)
    found, bones = options.side or require_known_side(known), known.labels
    loaded = _load(model)
    reading = read_knee(source.volume, bones, found, loaded, DENSE)
    notes = (*source.notes, *known.notes, *doubts)
    record = _record(reading, source, loaded, model, notes=notes, side=found)
    maps = parameter_maps(bones, reading)
    knee = ReadKnee(
        side=found,
        ct=source.volume,
        bones=bones,
        bones_given=options.mask is not None,
        maps=maps,
        cubes=reading.table,
        regions=regions(reading),
        algorithm=Algorithm(name=loaded.card.name, sha256=model.sha256, simulated=model.simulated),
        cautions=record.flags,
    )
    written = write_knee(out, knee, series, options.formats)
    write_record(out / RECORD, record, "inference")
    page = render_inference(
        Inference(
            ct=source.volume,
            bones=known.with_lumps(),
            maps=maps,
            regions=knee.regions,
            record=json.loads(serial.to_json(record)),
            name=shown_name(ct),
            model=_facts(loaded, model),
            expected=read_expected(model.folder),
            precision=read_precision(model.folder),
        )
    )
    write_text(out / PAGE, page)
    return (*written, out / RECORD, out / PAGE)


@lru_cache(maxsize=1)
def _load(model: InferenceModel) -> Model:
    """Return the networks of a model, which a worker loads once for all its knees."""
    return load_model(model.folder)


def parameter_maps(
    bones: Volume[np.uint8], reading: KneeReading
) -> dict[ParameterSymbol, Volume[np.float32]]:
    """Return each parameter on the CT grid: in each bone, blended from the cubes of that bone; else NaN."""
    maps = {}
    for parameter in PARAMETERS:
        painted = [
            _painted(bones, reading.table[reading.table["bone"] == bone], bone, parameter) for bone in BONES
        ]
        array = reduce(lambda first, second: np.where(np.isnan(first), second, first), painted)
        maps[parameter] = Volume(array=array, geometry=bones.geometry)
    return maps


def _painted(
    bones: Volume[np.uint8], cubes: pd.DataFrame, bone: BoneName, parameter: ParameterSymbol
) -> NDArray[np.float32]:
    mask = Volume(array=bones.array == BONE_LABELS[bone], geometry=bones.geometry)
    centres = cubes[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)
    return paint(centres, cubes[parameter].to_numpy(np.float64), mask).array


def regions(reading: KneeReading) -> pd.DataFrame:
    """Return one row a bone and compartment: number of cubes, and mean and SD of each parameter over them."""
    groups = reading.table.groupby(["bone", "compartment"], sort=True)
    means = groups[list(PARAMETERS)].mean()
    spreads = groups[list(PARAMETERS)].std(ddof=0).rename(columns=lambda name: PARAMETER_OF[name].cubes_sd)
    table: pd.DataFrame = pd.concat([groups.size().rename("cubes"), means, spreads], axis=1).reset_index()
    return table


def _bones(ct: Volume[np.generic], side: Side | None, mask: BoneMask | None) -> FoundBones:
    """Return the bones of the mask that was given, else those that are found in the CT."""
    if mask is None:
        return find_bones(ct, "ct", side)
    given = read_bone_masks(mask.path, ct.geometry, side, dict(mask.labels))
    return FoundBones(labels=given.labels, side=given.side or _shown_side(ct), notes=given.notes)


def _shown_side(ct: Volume[np.generic]) -> Side | None:
    """Return the side that the CT shows beside a mask without one; null where no bones are found in it."""
    try:
        return find_bones(ct, "ct", None).side
    except InputError:
        return None  # masks are given where bones are hard to find: the side is then asked for


def _learnt_from_simulated(model: Path) -> bool:
    """Return whether the knees of a model are simulated: it is a school's, or metrics or card say so."""
    expected = read_expected(model)
    if expected is not None and expected.simulated:
        return True
    card = json.loads((model / CARD).read_text(encoding="utf-8"))
    if at(card, "name") in READERS:
        return True
    return at(read_metrics(model), "cohort", "simulated") is True or "simulated" in str(at(card, "caution"))


def _record(
    reading: KneeReading,
    source: SourceImage,
    loaded: Model,
    model: InferenceModel,
    *,
    notes: tuple[Note, ...],
    side: Side,
) -> InferenceRecord:
    checks = check_domain(reading, source.technique, notes)
    return InferenceRecord(
        side=side,
        model_sha256=dict(loaded.card.weights),
        in_distribution=all(check.verdict != "outside" for check in checks),
        distance=reading.distance.largest,
        flags=(*_doubts(reading, checks), *map(str, notes), *_cautions(loaded, model)),
        cubes=len(reading.points),
        cubes_outside_volume=reading.outside_volume,
        cubes_outside_bone=reading.outside_bone,
        probability=_probability(reading, checks, diagnosis_of(model.folder), loaded, side),
        ct_sha256=hash_voxels(source.volume),
        technique=dict(source.technique),
        checks=checks,
        not_measured=reading.not_measured,
    )


def _doubts(reading: KneeReading, checks: Sequence[DomainCheck]) -> tuple[str, ...]:
    """Return why a scan lies outside, where the notes of the readers do not say so."""
    of_cubes = ("field of view", "lesions")
    outside = [check for check in checks if check.verdict == "outside" and check.aspect in of_cubes]
    return (*reading.distance.reasons, *(f"{check.aspect}: {check.finding}" for check in outside))


def _taught(loaded: Model) -> bool:
    """Return whether networks that learnt from simulated knees read the labels of a student."""
    return loaded.card.name == "distilled" and loaded.card.config.labels == "reader"


def _facts(loaded: Model, model: InferenceModel) -> ModelFacts:
    patients = [fold.patients for fold in loaded.card.folds if fold.patients is not None]
    return ModelFacts(
        name=loaded.card.name,
        sha256=model.sha256,
        networks=len(loaded.card.folds),
        patients=(min(patients), max(patients)) if patients else None,
        simulated=model.simulated,
        caution=loaded.card.caution,
        labels=OF_SCHOOL if loaded.card.name in READERS else LABELS[loaded.card.config.labels],
        taught=_taught(loaded),
    )


def shown_name(ct: Path) -> str:
    """Return the name of a CT for a page that may be shared: empty where it may name a person.

    Examples
    --------
    >>> shown_name(Path("data/sub-017_side-L_ct.nii.gz"))
    'sub-017_side-L_ct.nii.gz'
    >>> shown_name(Path("Smith_John_1960.nii.gz"))
    ''
    """
    words = re.split(r"[_. ]", ct.name)
    return ct.name if all(map(_HARMLESS.fullmatch, words)) else ""


def _cautions(loaded: Model, model: InferenceModel) -> tuple[str, ...]:
    """Return what a user of the model has to know first."""
    told = [f"the model {loaded.card.caution}"] if loaded.card.caution else []
    if model.simulated:
        return (*told, SIMULATED)
    return (*told, TAUGHT) if _taught(loaded) else tuple(told)


def _probability(
    reading: KneeReading, checks: Sequence[DomainCheck], path: Path, model: Model, side: Side
) -> float | None:
    """Return the probability by the classifier at `path`, where there is one."""
    if not path.is_file() or any(check.verdict == "outside" for check in checks):
        return None
    final = read_record(DiagnosisModels, path, "diagnosis_models").final.get(model.card.name)
    features = features_of(reading.table.assign(participant="this", side=side))
    if final is None or not features.knees:
        return None
    return float(final.probability(features.values)[0])
