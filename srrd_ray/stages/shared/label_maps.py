"""Label maps of simulated knees, each made once and kept as a small file: what the segmenter learns from."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.simulation.frozen import COHORT, constants_sha256
from srrd_ray.simulation.labels import label_map, pose_shapes
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.simulation.scene import Extent
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import local_copy

SPAN_MM = (196.0, 150.0, 144.0)
"""Of a label map along z, y, x, centred on the joint."""
EXTENT = Extent(low=(-80.0, -85.0, -110.0), high=(80.0, 85.0, 110.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelMapStore:
    """The label maps of the knees of one seed, in a folder; half of them in the pose of their MR."""

    folder: Path
    knees: int
    seed: int
    voxel_mm: float

    def __call__(self, number: int) -> NDArray[np.uint8]:
        """Return the label map of a knee, made where it is not there yet or is damaged."""
        path = self.path(number)
        try:
            return _read(path)
        except (FileNotFoundError, ValueError, KeyError, zipfile.BadZipFile):
            labels = self.make(number)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, labels=labels)
            return labels

    def path(self, number: int) -> Path:
        """Return the file of a knee's label map; its folder names all that it depends on."""
        kind = f"{COHORT}-{constants_sha256()[:8]}_{self.knees}-knees_seed-{self.seed}_{self.voxel_mm:g}-mm"
        return self.folder / kind / f"{number:04d}.npz"

    def make(self, number: int) -> NDArray[np.uint8]:
        """Return the label map of a knee (z, y, x), axes along LPS; some seconds."""
        plan = simulate_cohort_plan(max(self.knees, 2), self.seed, "paper")[number]
        return make_label_map(plan, "ct" if number % 2 == 0 else "mr", self.voxel_mm)


def make_label_map(plan: SimulatedKnee, pose: str, voxel_mm: float) -> NDArray[np.uint8]:
    """Return the label map of a knee in the pose of its CT or of its MR, around its joint."""
    scene, sessions = pose_shapes(plan, EXTENT)
    session = sessions["ct" if pose == "ct" else "mr"]
    z, y, x = (int(mm / voxel_mm) for mm in SPAN_MM)
    first = session.joint_line()[:3, 3] - voxel_mm * (np.array([x, y, z]) - 1) / 2
    grid = Geometry.axis_aligned((z, y, x), (voxel_mm,) * 3, first)
    return label_map(scene, session.bone_from_world(), grid, cortex=True).array


def _read(path: Path) -> NDArray[np.uint8]:
    with local_copy(path) as here, np.load(here, allow_pickle=False) as file:
        labels: NDArray[np.uint8] = file["labels"]
    return labels
