"""What every stage writes, made of almost nothing: the real files of a knee in their real places, a few voxels and rows each.

The functions of the stages over knees and shards, and the four trainings, are replaced; runner, manifest, sidecars, Ray, tables,
classification, evaluation and report are those of the package.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from srrd_ray.core.bones import BONES
from srrd_ray.core.geometry import Geometry, matrix4
from srrd_ray.core.hashing import hash_json, seed_from
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import COMPARTMENTS, BoneTransform, Image, Knee, Patch, RegistrationQuality
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import AnyStage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.patches import PatchConfig
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.stages.compare_synthesis import COLUMNS, TABLE
from srrd_ray.stages.ingest import paired_source
from srrd_ray.stages.shared.first_round import CHOICE, SynthesisChoice
from srrd_ray.stages.shared.gather import read_folds
from srrd_ray.stages.shared.learning import WINNERS, Winners
from srrd_ray.stages.shared.poses import write_pose
from srrd_ray.storage.atomic import replacing, write_text
from srrd_ray.storage.omezarr import write_volume
from srrd_ray.storage.patch_store import read_index, write_shard
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.record_files import write_record
from srrd_ray.storage.tables import write_table

REGIONS = tuple((bone, compartment) for bone in BONES for compartment in COMPARTMENTS)
CUBES = PatchConfig().per_region
"""Cubes of a region."""
TEMPLATE = "SRRD_BENCHMARK_TEMPLATE"
OTHER = Knee(participant="X", side="L")
IMAGES: dict[Image, str] = {"ct": "HU", "mr": "au", "sct": "HU", "ct_bones": "label", "mr_bones": "label"}


def write_templates(folder: Path) -> None:
    """Write one tiny OME-Zarr of each kind through the real writer; every knee gets a copy under its own name and hash."""
    voxels = np.zeros((4, 4, 4), dtype=np.int16)
    for image, unit in IMAGES.items():
        volume = Volume(array=voxels, geometry=Geometry.axis_aligned((4, 4, 4), (1.0, 1.0, 1.0)))
        write_volume(folder / f"{image}.ome.zarr", volume, knee=OTHER, image=image, unit=unit)  # type: ignore[arg-type]


def small_volume(path: Path, template: Path, knee: Knee, image: Image) -> Path:
    """Return `path` after writing a volume of four voxels cubed there."""
    with replacing(path) as beside, local_copy(template / f"{image}.ome.zarr") as one:
        shutil.copytree(one, beside)
        card = beside / "zarr.json"
        text = card.read_text().replace(OTHER.key, knee.key)
        old = text.split('"sha256": "', 1)[1][:64]
        card.write_text(text.replace(old, hash_json(knee.key, image)))
    return path


def ingest(work: Work[Any]) -> Produced:
    """Write CT and MR."""
    paired_source(work.item)
    return _volumes(work, "ct", "mr")


def synthesize(work: Work[Any]) -> Produced:
    """Write the synthetic CT."""
    return _volumes(work, "sct")


def register(work: Work[Any]) -> Produced:
    """Write labels, poses and the part of the table."""
    from srrd_ray.stages.register import COLUMNS

    knee, layout = work.item.knees[0], work.layout
    volumes = _volumes(work, "ct_bones", "mr_bones").paths
    for bone in BONES:
        write_pose(layout, _pose(knee, bone))
    rows = [
        (knee.participant, knee.side, bone, False, "sampled", 0.9, 0.4, 0.9, 80.0, 27.0, 0.9)
        for bone in BONES
    ]
    part = layout.part("registration", knee)
    write_table(part, pd.DataFrame(rows, columns=list(COLUMNS)), "registration")
    return Produced(paths=(*volumes, part, *(layout.transform(knee, bone) for bone in BONES)))


def patches(work: Work[Any]) -> Produced:
    """Write a shard of cubes of two voxels."""
    path = work.layout.shard_named(work.item.name)
    regions = [(knee, *region) for knee in work.item.knees for region in REGIONS]
    places = [place for place in regions for _ in range(CUBES)]
    cubes = [
        Patch(
            store=path, row=row, knee=knee, bone=bone, compartment=side, center_lps_mm=(0, 0, 0), depth_mm=7.0
        )
        for row, (knee, bone, side) in enumerate(places)
    ]
    write_shard(path, {"ct": np.zeros((len(cubes), 2, 2, 2), np.int16)}, cubes)
    return Produced(paths=(path, path.with_suffix(".parquet")))


def measure(work: Work[Any]) -> Produced:
    """Write a row for each cube of a knee."""
    from srrd_ray.stages.measure import COLUMNS

    knee, part = work.item.knees[0], work.layout.part("measures", work.item.knees[0])
    index = read_index(work.layout.shard_named(work.item.shard))
    rows = [(*_who(patch), *_values(patch, "mr"), 1.0, "sampled") for patch in index if patch.knee == knee]
    write_table(part, pd.DataFrame(rows, columns=list(COLUMNS)), "morphometry")
    return Produced(paths=(part,))


def predict(work: Work[Any]) -> Produced:
    """Write three rows for each cube of a shard."""
    from srrd_ray.stages.shared.reading import COLUMNS

    path = work.layout.shard_part("predictions", work.item.name)
    index = read_index(work.layout.shard_named(work.item.name))
    read_folds(work.layout, {knee.participant for knee in work.item.knees})
    models = ("baseline", "distilled", "teacher")
    pairs = product(index, models)
    rows = [(*_who(patch), model, 0, *_values(patch, model), 0.1, 0.1, 0.1, 0.1) for patch, model in pairs]
    write_table(path, pd.DataFrame(rows, columns=list(COLUMNS)), "predictions")
    return Produced(paths=(path,))


def tune(work: Work[Any]) -> Produced:
    """Write the winners."""
    write_record(work.layout.model(WINNERS), Winners(folds={}), "winners")
    return Produced(paths=(work.layout.model(WINNERS),))


def learn_synthesis(work: Work[Any]) -> Produced:
    """Write a model."""
    return _models(work, "synthesis")


def align(_: Work[Any]) -> Produced:
    """Write nothing, as where there is no round two."""
    return Produced(paths=())


def learn_aligned(work: Work[Any]) -> Produced:
    """Write that round one is used."""
    path = work.layout.model("synthesis-aligned") / CHOICE
    write_record(path, SynthesisChoice(used=False, reason="no round two"), "synthesis_choice")
    return Produced(paths=(path.parent,))


def compare_synthesis(work: Work[Any]) -> Produced:
    """Write an empty table."""
    path = work.layout.part(TABLE, work.item.knees[0])
    write_table(path, pd.DataFrame([], columns=list(COLUMNS)), TABLE)
    return Produced(paths=(path,))


def shape(work: Work[Any]) -> Produced:
    """Write a row of a knee of which nothing is known."""
    from srrd_ray.segmentation.knee_shape import SHAPE_COLUMNS

    knee = work.item.knees[0]
    row = {"participant": knee.participant, "side": knee.side, **dict.fromkeys(SHAPE_COLUMNS, np.nan)}
    path = work.layout.part("shape", knee)
    write_table(path, pd.DataFrame([row]), "shape")
    return Produced(paths=(path,))


def compare_diagnosis(work: Work[Any]) -> Produced:
    """Write an empty table."""
    from srrd_ray.stages.compare_diagnosis import COLUMNS, TABLE, TYPES

    path = work.layout.table(TABLE)
    write_table(path, pd.DataFrame({name: [] for name in COLUMNS}).astype(TYPES))
    return Produced(paths=(path,))


def teach(work: Work[Any]) -> Produced:
    """Write two models."""
    return _models(work, "teacher", "baseline")


def distil(work: Work[Any]) -> Produced:
    """Write a model."""
    return _models(work, "distilled")


def _models(work: Work[Any], *names: str) -> Produced:
    for name in names:
        write_text(work.layout.model(name) / "small.txt", name)
    return Produced(paths=tuple(work.layout.model(name) for name in names))


def _volumes(work: Work[Any], *images: Image) -> Produced:
    knee = work.item.knees[0]
    template = Path(os.environ[TEMPLATE])
    made = [small_volume(work.layout.volume(knee, image), template, knee, image) for image in images]
    return Produced(paths=tuple(made))


SMALL = {
    "ingest": ingest, "learn-synthesis": learn_synthesis, "align": align, "learn-aligned": learn_aligned,
    "compare-synthesis": compare_synthesis, "synthesize": synthesize, "register": register,
    "patches": patches, "measure": measure, "teach": teach, "tune": tune, "distil": distil, "predict": predict,
    "shape": shape, "compare-diagnosis": compare_diagnosis,
}  # fmt: skip


def small_stages(cohort: Path) -> tuple[AnyStage, ...]:
    """Return the stages of the pipeline, those that compute replaced; the templates of volumes lie beside the cohort."""
    os.environ[TEMPLATE] = str(cohort / "template")  # inherited by the workers of a local Ray
    return tuple(replace(stage, function=SMALL.get(stage.name, stage.function)) for stage in STAGES)


def _pose(knee: Knee, bone: str) -> BoneTransform:
    quality = RegistrationQuality(accepted=False, reason="sampled", dice=0.9, surface_mm=0.4, correlation=0.9)
    return BoneTransform(
        knee=knee, bone=bone, fixed="ct", moving="mr", matrix=matrix4(np.eye(4)), quality=quality
    )  # type: ignore[arg-type]


def _who(patch: Patch) -> tuple[str, str, str, str, str, int]:
    return (
        patch.knee.participant,
        patch.knee.side,
        patch.bone,
        patch.compartment,
        patch.store.stem,
        patch.row,
    )


def _values(patch: Patch, model: str) -> tuple[float, float, float, float]:
    """Return parameters drawn by the names of the patch: no knee is like another, no run like no other."""
    knee = np.random.default_rng(seed_from(1, patch.knee.key)).normal(size=len(PARAMETERS))
    cube = np.random.default_rng(seed_from(1, patch.knee.key, model, patch.row)).normal(size=len(PARAMETERS))
    bvtv, thickness, spacing, _ = np.clip(0.4 + 0.03 * (knee + cube), 0.1, 0.9).tolist()
    return bvtv, thickness, spacing, bvtv / thickness
