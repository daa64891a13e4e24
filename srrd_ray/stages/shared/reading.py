"""Predict the bone parameters of cubes.

The cubes of a run's shards are read out of fold, those of any CT by the whole ensemble.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.core.records import COMPARTMENTS, RUN_MODELS, Compartment, Patch, Side
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.distillation.data import bone_fraction
from srrd_ray.distillation.fingerprint import Distance, count_unlike, fingerprint_distance
from srrd_ray.distillation.inference import predict
from srrd_ray.patches import PatchConfig, Placement, SubchondralPoint, cut_ct, place_cubes, subchondral_points
from srrd_ray.stages.shared.models import Model, ModelName, load_model
from srrd_ray.storage import patch_store
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import write_table

Values: TypeAlias = NDArray[np.float32]

COLUMNS = (
    *("participant", "side", "bone", "compartment", "store", "row", "model", "fold"),
    *PARAMETERS,
    *(parameter.predictive_sd for parameter in PARAMETER_OF.values()),
)


LossCause: TypeAlias = Literal["volume", "bone"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NotMeasured:
    """A region of which no cube was read: mostly because cubes leave the `volume`, or the `bone`."""

    bone: BoneName
    compartment: Compartment
    cause: LossCause
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KneeReading:
    """What a model reads in the CT of one knee.

    Parameters
    ----------
    points
        The cubes that were read.
    table
        One row a cube: bone, compartment, x_mm, y_mm, z_mm (CT LPS), depth_mm, the parameters and their
        predictive SDs.
    distance
        How far the scan lies from the training images; flagged where it is outside.
    outside_volume, outside_bone
        Candidate cubes that were excluded.
    unlike
        How many of the cubes are, each for itself, unlike those of the training.
    not_measured
        The regions without a cube.
    """

    points: tuple[SubchondralPoint, ...]
    table: pd.DataFrame
    distance: Distance
    outside_volume: int
    outside_bone: int
    unlike: int = 0
    not_measured: tuple[NotMeasured, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CtCubes:
    """The cubes of one CT, a row each: HU, bone, and the CT's own voxel (z, y, x), mm; and where they lie."""

    placement: Placement
    images: NDArray[np.int16]
    masks: NDArray[np.uint8]
    spacing_mm: NDArray[np.float32]


def predict_shard(layout: RunLayout, shard: Path, path: Path, folds: Mapping[str, int]) -> None:
    """Write the rows of one shard, by every model in the run, to the Parquet file `path`.

    `folds` are those of its patients.
    """
    models = layout.model("teacher").parent
    write_table(path, predictions_of(shard, models, folds), "predictions")


def predictions_of(shard: Path, models: Path, folds: Mapping[str, int]) -> pd.DataFrame:
    """Return the predictions of a shard's cubes: COLUMNS, one row a cube and model.

    A cube is read by the network of the fold that tests its patient, which never saw the patient. Patients
    without a fold are left out. The teacher reads only cubes with MR.
    """
    index = patch_store.read_index(shard)
    arrays = patch_store.read_shard(shard) if index else {}
    tables: list[pd.DataFrame] = []
    for name in RUN_MODELS:
        if index and (models / name).is_dir():
            tables.extend(_by_fold(name, load_model(models / name), index, arrays, folds))
    if not tables:
        return pd.DataFrame({column: [] for column in COLUMNS})
    rows = pd.concat(tables, ignore_index=True)
    return rows.sort_values(["row", "model"], ignore_index=True)[list(COLUMNS)]


def read_knee(
    ct: Volume[Scalar], bones: Volume[np.uint8], side: Side, model: Model, config: PatchConfig
) -> KneeReading:
    """Return what the ensemble of `model` reads in the CT (HU) of one knee, given the labels of its bones.

    Raises
    ------
    InputError
        `patches-none` where no cube fits into the subchondral bone; `bone-missing`.
    """
    cubes = cut_cubes_of(ct, bones, side, config)
    placement, images, masks = cubes.placement, cubes.images, cubes.masks
    mean, sd = predict_ensemble(model, images, masks)
    return KneeReading(
        points=placement.kept,
        table=pd.concat([_places(placement.kept), _parameters(mean, sd)], axis=1),
        distance=ensemble_distance(model, images, masks, cubes.spacing_mm),
        outside_volume=placement.outside_volume,
        outside_bone=placement.outside_bone,
        unlike=min(
            count_unlike(fold.fingerprint, images, masks, cubes.spacing_mm) for fold in model.card.folds
        ),
        not_measured=tuple(not_measured(placement)),
    )


def cut_cubes_of(ct: Volume[Scalar], bones: Volume[np.uint8], side: Side, config: PatchConfig) -> CtCubes:
    """Return the cubes of the CT (HU) of one knee; errors as `read_knee`."""
    placement = place_cubes(ct, bones, subchondral_points(bones, side, config), config)
    if not placement.kept:
        seen = f"{placement.outside_volume} outside the volume, {placement.outside_bone} outside the bone"
        raise InputError("patches-none", "no cube fits into the subchondral bone", got=seen)
    cut = [cut_ct(ct, bones, point) for point in placement.kept]
    return CtCubes(
        placement=placement,
        images=np.rint(np.stack([c.image for c in cut])).clip(-32768, 32767).astype(np.int16),
        masks=np.stack([c.mask for c in cut]).astype(np.uint8),
        spacing_mm=np.tile(np.array(ct.geometry.spacing_mm, dtype=np.float32), (len(cut), 1)),
    )


def not_measured(placement: Placement) -> Iterator[NotMeasured]:
    """Yield the regions without a cube, and why."""
    kept = {(point.bone, point.compartment) for point in placement.kept}
    for bone, compartment in product(BONES, COMPARTMENTS):
        if (bone, compartment) in kept:
            continue
        beyond_volume, beyond_bone = (
            sum((point.bone, point.compartment) == (bone, compartment) for point in points)
            for points in (placement.left_volume, placement.left_bone)
        )
        reason = (
            f"no cube of 12.8 mm fits: {beyond_volume} places reach beyond the image, {beyond_bone} beyond "
            f"the bone that was found"
        )
        cause: LossCause = "volume" if beyond_volume >= beyond_bone else "bone"
        yield NotMeasured(bone=bone, compartment=compartment, cause=cause, reason=reason)


def predict_ensemble(
    model: Model, images: NDArray[np.generic], masks: NDArray[np.uint8]
) -> tuple[Values, Values]:
    """Return mean and SD (n, parameter) of the equal mixture of the folds' predictive distributions."""
    found = [predict(network, images, masks) for network in model.networks.values()]
    means, sds = np.stack([mean for mean, _ in found]), np.stack([sd for _, sd in found])
    spread = np.sqrt((sds**2).mean(axis=0) + means.var(axis=0))
    return means.mean(axis=0).astype(np.float32), spread.astype(np.float32)


def ensemble_distance(
    model: Model, images: NDArray[np.int16], masks: NDArray[np.uint8], spacing_mm: NDArray[np.float32]
) -> Distance:
    """Return the distance to the nearest of the folds' training sets."""
    distances = [
        fingerprint_distance(fold.fingerprint, images, masks, spacing_mm) for fold in model.card.folds
    ]
    return min(distances, key=lambda distance: distance.largest)


def _by_fold(
    name: ModelName,
    model: Model,
    index: tuple[Patch, ...],
    arrays: Mapping[str, NDArray[np.generic]],
    folds: Mapping[str, int],
) -> Iterator[pd.DataFrame]:
    fold_of = np.array([folds.get(patch.knee.participant, -1) for patch in index])
    has_mr = arrays["has_mr"].astype(np.bool_)
    for fold, network in model.networks.items():
        rows = np.flatnonzero((fold_of == fold) & (has_mr | (name != "teacher")))
        if rows.size == 0:
            continue
        if name == "teacher":
            masks = arrays["mr_mask"][rows].astype(np.uint8)
            mean, sd = predict(network, bone_fraction(arrays["mr"][rows].astype(np.float16), masks), masks)
        else:
            mean, sd = predict(network, arrays["ct"][rows], arrays["ct_mask"][rows].astype(np.uint8))
        places = pd.DataFrame([_who(index[row]) for row in rows]).assign(model=name, fold=fold)
        yield pd.concat([places, _parameters(mean, sd)], axis=1)


def _who(patch: Patch) -> dict[str, str | int]:
    return {
        "participant": patch.knee.participant,
        "side": patch.knee.side,
        "bone": patch.bone,
        "compartment": patch.compartment,
        "store": patch.store.stem,
        "row": patch.row,
    }


def _places(points: tuple[SubchondralPoint, ...]) -> pd.DataFrame:
    centres = np.array([point.center_lps_mm for point in points])
    return pd.DataFrame(
        {
            "bone": [point.bone for point in points],
            "compartment": [point.compartment for point in points],
            "x_mm": centres[:, 0],
            "y_mm": centres[:, 1],
            "z_mm": centres[:, 2],
            "depth_mm": [point.depth_mm for point in points],
        }
    )


def _parameters(mean: Values, sd: Values) -> pd.DataFrame:
    names = [*PARAMETERS, *(parameter.predictive_sd for parameter in PARAMETER_OF.values())]
    return pd.DataFrame(np.concatenate([mean, sd], axis=1).astype(np.float64), columns=names)
