"""The frozen records passed between stages: paths and numbers, never arrays, models or open files."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from srrd_ray.core.bones import BoneName
from srrd_ray.core.errors import ERRORS, CohortError, ErrorKind, InputError, SrrdError, kind_of
from srrd_ray.core.geometry import Geometry, Matrix4
from srrd_ray.core.scrub import Scrubber

Side: TypeAlias = Literal["L", "R"]
Compartment: TypeAlias = Literal["medial", "lateral"]
Modality: TypeAlias = Literal["ct", "mr"]
Image: TypeAlias = Literal["ct", "mr", "sct", "ct_masks", "mr_masks", "ct_bones", "mr_bones"]
Unit: TypeAlias = Literal["HU", "au", "label"]
RunModel: TypeAlias = Literal["teacher", "baseline", "school", "distilled"]
"""The models of a run: ``school`` is the school's reader of CT, which learnt nothing from the cohort."""
Status: TypeAlias = Literal["done", "skipped", "failed"]
RunState: TypeAlias = Literal["running", "finished", "stopped"]
Scope: TypeAlias = Literal["knee", "shard", "cohort"]
"""What one work item of a stage covers."""
STATUSES: tuple[Status, ...] = get_args(Status)
RUN_MODELS: tuple[RunModel, ...] = get_args(RunModel)
COMPARTMENTS: tuple[Compartment, ...] = get_args(Compartment)

LONGEST = 2000
"""Characters of a message, or of a field of it, that are kept."""

_ID = re.compile(r"[A-Za-z0-9]+\Z")
_KEY = re.compile(r"sub-([A-Za-z0-9]+)_side-([LR])\Z")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Knee:
    """One knee of one participant: what most stages work on.

    Raises
    ------
    CohortError
        `id-invalid` where the participant's id could not be part of a file name.
    """

    participant: str
    side: Side

    def __post_init__(self) -> None:
        if not _ID.match(self.participant) or self.side not in get_args(Side):
            raise CohortError(
                "id-invalid",
                "participant ids are letters and digits, sides are L or R",
                got=repr((self.participant[:32], self.side)),
                todo="Correct participants.tsv and knees.tsv.",
            )

    @property
    def key(self) -> str:
        """``sub-017_side-L``: the name of the knee in paths, tables and logs."""
        return f"sub-{self.participant}_side-{self.side}"

    @classmethod
    def parse(cls, key: str) -> Knee:
        """Return the knee whose `key` this is."""
        match = _KEY.match(key)
        if match is None:
            raise CohortError(
                "id-invalid", "not the key of a knee", got=repr(key[:64]), expected="sub-<id>_side-<L|R>"
            )
        return cls(participant=match[1], side="L" if match[2] == "L" else "R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One image of a knee as the cohort holds it: a file, or a folder of DICOM files."""

    knee: Knee
    modality: Modality
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortKnee:
    """One row of knees.tsv with its images. `age` is in years, those over 89 given as 90; blanks are none."""

    knee: Knee
    ct: Series | None
    mr: Series | None
    kl_grade: int | None
    oa: int | None
    age: float | None
    sex: str | None
    masks: tuple[tuple[BoneName, Modality, Path], ...] = ()

    def series(self, modality: Modality) -> Series | None:
        """Return the image of one modality, or none."""
        return self.ct if modality == "ct" else self.mr


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredVolume:
    """One OME-Zarr volume of a run. `synthetic_from` names the modality it was synthesised from;
    null for measured data.

    `voxels_sha256` is that of a measured image in whatever format it came; null for what this package made.
    """

    knee: Knee
    image: Image
    path: Path
    geometry: Geometry
    unit: Unit
    sha256: str
    synthetic_from: Modality | None = None
    voxels_sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistrationQuality:
    """Whether a transform may be used, and the numbers behind it: Dice of the bone after alignment, its
    surface distance (mm), correlation of CT and synthetic CT inside the bone;
    `reason` is empty where accepted.
    """

    accepted: bool
    reason: str
    dice: float
    surface_mm: float
    correlation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BoneTransform:
    """The rigid pose of one bone: `matrix` maps fixed LPS mm (CT) to moving LPS mm (MR),
    always in that direction.
    """

    knee: Knee
    bone: BoneName
    fixed: Modality
    moving: Modality
    matrix: Matrix4
    quality: RegistrationQuality


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """One cube of subchondral bone: row `row` of the shard `store`; centre in CT LPS mm;
    depth under the joint surface.
    """

    store: Path
    row: int
    knee: Knee
    bone: BoneName
    compartment: Compartment
    center_lps_mm: tuple[float, float, float]
    depth_mm: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The probability of osteoarthritis of one knee, from a model that never saw its patient (`fold`)."""

    knee: Knee
    probability: float
    label: int | None
    fold: int
    model_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why a knee failed: an `SrrdError` with its class and fields, or type and place of another exception.

    `message` is the whole text; `what` and the fields after it are empty for an exception that is none of
    ours.
    """

    code: str
    message: str
    kind: ErrorKind = "SrrdError"
    what: str = ""
    where: str = ""
    got: str = ""
    expected: str = ""
    todo: str = ""

    @classmethod
    def from_error(cls, error: BaseException) -> Fault:
        """Return the fault of an exception; an unexpected one keeps its type, so that a defect of ours shows.

        The text of an unexpected one is scrubbed: it may hold file names and values of headers.
        """
        if isinstance(error, SrrdError):
            fields = {
                name: str(getattr(error, name))[:LONGEST]
                for name in ("what", "where", "got", "expected", "todo")
            }
            return cls(code=error.code, message=str(error)[:LONGEST], kind=kind_of(error), **fields)
        kind = type(error).__name__
        text = error.strerror if isinstance(error, OSError) else None
        text = text or Scrubber().scrub_text(str(error)[:1000]) or kind
        return cls(code=f"unexpected-{kind}", message=f"{text}{_raised_at(error)}")

    def as_error(self) -> SrrdError:
        """Return the error that this is the fault of: of its class, with its fields."""
        kind = ERRORS[self.kind]
        what = self.what or self.message
        return kind(self.code, what, where=self.where, got=self.got, expected=self.expected, todo=self.todo)


def _raised_at(error: BaseException) -> str:
    """Return where in this package an exception was raised."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "srrd_ray" in Path(frame.filename).parts
    ]
    return f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one stage did with one knee (`knee` is null for a stage over the whole cohort).

    Where `bone` is given, that bone is lost and its knee goes on with the other.
    """

    knee: Knee | None
    stage: str
    status: Status
    seconds: float
    error: Fault | None = None
    bone: BoneName | None = None

    def __post_init__(self) -> None:
        if (self.status == "failed") != (self.error is not None):
            raise InputError("outcome-invalid", "exactly the failed outcomes carry an error", got=self.status)
        if self.bone is not None and (self.knee is None or self.status != "failed"):
            raise InputError("outcome-invalid", "only a lost bone of a knee has an outcome", got=self.status)

    @property
    def lost_knee(self) -> Knee | None:
        """The knee, where all of it failed."""
        return self.knee if self.status == "failed" and self.bone is None else None

    @property
    def lost_bone(self) -> bool:
        """Whether this is the failure of a single bone."""
        return self.bone is not None

    @property
    def subject(self) -> str:
        """What it is about, for people: ``sub-017_side-L``, ``sub-017_side-L femur`` or ``cohort``."""
        if self.knee is None:
            return "cohort"
        return self.knee.key if self.bone is None else f"{self.knee.key} {self.bone}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTime:
    """Wall seconds of one stage, all its work items together."""

    stage: str
    seconds: float
