"""A school of toy cubes on disk, its readers trained in a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from srrd_ray.core.learner import Learner
from srrd_ray.core.records import Knee
from srrd_ray.distillation.config import NetworkConfig, SchoolConfig
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.step import StudentLearner, TeacherLearner
from srrd_ray.patches import SubchondralPoint
from srrd_ray.stages.patches import patches_of
from srrd_ray.stages.shared.school_model import READERS, save_school
from srrd_ray.storage import patch_store
from tests.distillation.toys import SMALL, toy
from tests.stages.small_run import drive

SCHOOL = SchoolConfig(
    knees=6,
    held_out=4,
    readers=replace(
        SMALL, teacher=NetworkConfig(input="mr", width=8), student=NetworkConfig(input="ct", width=8)
    ),
)


def write_toy_cubes(path: Path, participant: str, data: DistillationData) -> None:
    """Write cubes as those of a school's knee."""
    arrays = {name: getattr(data, name) for name in ("ct", "ct_mask", "ct_spacing_mm", "mr", "mr_mask")}
    point = SubchondralPoint(bone="femur", compartment="medial", center_lps_mm=(0, 0, 0), depth_mm=7.0)
    places = [(Knee(participant=participant, side="R"), point)] * len(data)
    arrays |= {"truth": data.targets, "has_mr": np.ones(len(data), np.bool_)}
    patch_store.write_shard(path, arrays, patches_of(path, places))


def make_school(folder: Path) -> Path:
    """Return the folder of a school whose readers learnt from 48 toy cubes, and were judged by 32 others."""
    shards = []
    for knee in range(SCHOOL.knees + SCHOOL.held_out):
        shards.append(folder / f"knee-{knee:06d}.zarr")
        write_toy_cubes(shards[-1], f"school{knee:06d}", toy(8, seed=100 + knee))
    taught, judging = shards[: SCHOOL.knees], shards[SCHOOL.knees :]
    drive(_learners(), folder / "weights")
    return save_school(folder / "readers", SCHOOL, folder / "weights", (taught, judging))


def _learners() -> Iterator[Learner]:
    data = toy(8 * SCHOOL.knees, seed=50)
    yield TeacherLearner(READERS["mr"], data, SCHOOL.readers, SCHOOL.seed)
    yield StudentLearner(READERS["ct"], data, SCHOOL.readers, SCHOOL.seed)
