"""What every stage writes, made of almost nothing:
the real files of a knee at their real paths, a few voxels and rows each.

The acts of the stages over knees and shards, and the four trainings (`small_learning`), are replaced;
engine, ledger, sidecars, Ray, tables, classification, evaluation and report are those of the package.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from srrd_ray.core.geometry import Geometry, matrix4
from srrd_ray.core.hashing import hash_json, seed_from
from srrd_ray.core.records import (
    BONES,
    COMPARTMENTS,
    PARAMETERS,
    BoneTransform,
    Image,
    Knee,
    Patch,
    RegistrationQuality,
    StageName,
)
from srrd_ray.core.volume import Volume
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.pipeline.acts import Acts, UnitActs, paired_source
from srrd_ray.pipeline.run import run as pipeline
from srrd_ray.stages.poses import write_pose
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.omezarr import write_volume
from srrd_ray.storage.patch_store import read_index, write_shard
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.tables import write_table

REGIONS = tuple((bone, compartment) for bone in BONES for compartment in COMPARTMENTS)
CUBES = 4
"""Cubes of a region, as `PatchConfig.per_region`."""
OTHER = Knee(participant="X", side="L")
IMAGES: dict[Image, str] = {"ct": "HU", "mr": "au", "sct": "HU", "ct_bones": "label", "mr_bones": "label"}


def write_templates(folder: Path) -> None:
    """Write one tiny OME-Zarr of each kind through the real writer;
    every knee gets a copy under its own name and hash.
    """
    voxels = np.zeros((4, 4, 4), dtype=np.int16)
    for image, unit in IMAGES.items():
        volume = Volume(array=voxels, geometry=Geometry.axis_aligned((4, 4, 4), (1.0, 1.0, 1.0)))
        write_volume(folder / f"{image}.ome.zarr", volume, knee=OTHER, image=image, unit=unit)  # type: ignore[arg-type]


def small_volume(path: Path, template: Path, knee: Knee, image: Image) -> Path:
    """Return `path` after writing a volume of four voxels cubed there."""
    with replacing(path) as temporary, local_copy(template / f"{image}.ome.zarr") as one:
        shutil.copytree(one, temporary)
        card = temporary / "zarr.json"
        text = card.read_text().replace(OTHER.key, knee.key)
        old = text.split('"sha256": "', 1)[1][:64]
        card.write_text(text.replace(old, hash_json(knee.key, image)))
    return path


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallUnitActs(UnitActs):
    """The acts of the stages over knees and shards; `template` holds a volume of each kind."""

    template: Path

    def ingest(self, unit: WorkItem) -> Produced:
        """Write CT and MR."""
        paired_source(unit)
        return self._volumes(unit, "ct", "mr")

    def synthesize(self, unit: WorkItem) -> Produced:
        """Write the synthetic CT."""
        return self._volumes(unit, "sct")

    def register(self, unit: WorkItem) -> Produced:
        """Write labels, poses and the part of the table."""
        from srrd_ray.stages.register import COLUMNS  # here and below: as late as the package does

        knee = unit.knees[0]
        volumes = self._volumes(unit, "ct_bones", "mr_bones").paths
        for bone in BONES:
            write_pose(self.layout, _pose(knee, bone))
        rows = [
            (knee.participant, knee.side, bone, False, "drawn", 0.9, 0.4, 0.9, 80.0, 27.0, 0.9)
            for bone in BONES
        ]
        part = self.layout.part("registration", knee)
        write_table(part, pd.DataFrame(rows, columns=list(COLUMNS)), "registration")
        return Produced(paths=(*volumes, part, *(self.layout.transform(knee, bone) for bone in BONES)))

    def patches(self, unit: WorkItem) -> Produced:
        """Write a shard of cubes of two voxels."""
        path = self.layout.shard_named(unit.name)
        places = [(knee, *region) for knee in unit.knees for region in REGIONS for _ in range(CUBES)]
        patches = [
            Patch(
                store=path,
                row=row,
                knee=knee,
                bone=bone,
                compartment=side,
                center_lps_mm=(0, 0, 0),
                depth_mm=7.0,
            )
            for row, (knee, bone, side) in enumerate(places)
        ]
        write_shard(path, {"ct": np.zeros((len(patches), 2, 2, 2), np.int16)}, patches)
        return Produced(paths=(path, path.with_suffix(".parquet")))

    def measure(self, unit: WorkItem) -> Produced:
        """Write a row for each cube of a knee."""
        from srrd_ray.stages.measure import COLUMNS

        knee = unit.knees[0]
        index = read_index(self.layout.shard_named(unit.shard))
        rows = [(*_who(patch), *_values(patch, "mr"), 1.0, "drawn") for patch in index if patch.knee == knee]
        write_table(
            self.layout.part("measures", knee), pd.DataFrame(rows, columns=list(COLUMNS)), "morphometry"
        )
        return Produced(paths=(self.layout.part("measures", knee),))

    def predict(self, unit: WorkItem) -> Produced:
        """Write three rows for each cube of a shard."""
        from srrd_ray.stages.predict import COLUMNS

        path, index = (
            self.layout.shard_part("predictions", unit.name),
            read_index(self.layout.shard_named(unit.name)),
        )
        rows = [
            (*_who(patch), model, 0, *_values(patch, model), 0.1, 0.1, 0.1, 0.1)
            for patch in index
            for model in ("baseline", "distilled", "teacher")
        ]
        write_table(path, pd.DataFrame(rows, columns=list(COLUMNS)), "predictions")
        return Produced(paths=(path,))

    def _volumes(self, unit: WorkItem, *images: Image) -> Produced:
        made = [
            small_volume(self.layout.volume(unit.knees[0], image), self.template, unit.knees[0], image)
            for image in images
        ]
        return Produced(paths=tuple(made))


class SmallActs(Acts):
    """The acts of one run."""

    @property
    def units(self) -> UnitActs:
        """Those over knees and shards."""
        return SmallUnitActs(layout=self.layout, config=self.config, template=self.cohort.root / "template")


def learn_little(stages: pipeline.Pipeline, name: StageName, unit: WorkItem) -> Produced:
    """Take the place of `Pipeline._learnt`, imported as late as there."""
    from small_learning import learnt

    return learnt(stages, name, unit)


def _pose(knee: Knee, bone: str) -> BoneTransform:
    quality = RegistrationQuality(accepted=False, reason="drawn", dice=0.9, surface_mm=0.4, correlation=0.9)
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
    """Return parameters sampled by the names of the patch: knees differ, runs do not."""
    knee = np.random.default_rng(seed_from(1, patch.knee.key)).normal(size=len(PARAMETERS))
    cube = np.random.default_rng(seed_from(1, patch.knee.key, model, patch.row)).normal(size=len(PARAMETERS))
    bvtv, thickness, spacing, _ = np.clip(0.4 + 0.03 * (knee + cube), 0.1, 0.9).tolist()
    return bvtv, thickness, spacing, bvtv / thickness
