"""Label maps of simulated knees on any grid, in seconds: the same shapes as the images', without texture or
scanner.

Made for training a segmenter; what `compose` calls a point is what it is called here. Shafts end 115 mm from
the joint.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Modality
from srrd_ray.core.volume import Volume
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.anatomy import Anatomy, sample_anatomy
from srrd_ray.simulation.bones import TIBIA, build_bones
from srrd_ray.simulation.compose import SOFT_CHANNELS, Scene, compose
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.pose import Session, depth_on, sample_sessions
from srrd_ray.simulation.scene import Extent, label_table, make_table
from srrd_ray.simulation.soft_tissue import soft_tissue

LABELS: Final = {
    "air": 0,
    "femur": 1,
    "tibia": 2,
    "fibula": 3,
    "patella": 4,
    "cartilage": 5,
    "meniscus": 6,
    "muscle": 7,
    "fat": 8,
    "ligament": 9,
    "skin": 10,
    "fluid": 11,
    "blood": 12,
    "femoral cortex": 13,
    "tibial cortex": 14,
    "fibular cortex": 15,
    "patellar cortex": 16,
}
"""Bones have the numbers of `cohort.bone_labels`; ligaments are also tendons, fascia and septa. Cortex is
asked for."""
_OF_TISSUE: Final = {
    tissue.AIR: "air",
    tissue.FAT: "fat",
    tissue.MUSCLE: "muscle",
    tissue.FLUID: "fluid",
    tissue.CARTILAGE: "cartilage",
    tissue.MENISCUS: "meniscus",
    tissue.LIGAMENT: "ligament",
    tissue.SKIN: "skin",
    tissue.BLOOD: "blood",
}
STEP_MM = 1.2
"""Of the nodes that shapes are computed on: coarser than for images, for speed."""


def shape_scene(plan: SimulatedKnee, extent: Extent) -> tuple[Anatomy, Scene]:
    """Return a knee's sizes, and its scene without texture, lesions or volume fraction: shapes alone."""
    a = sample_anatomy(plan)
    bones = build_bones(plan, a)
    tables = tuple(
        label_table(bones, n, extent.nodes(STEP_MM, around=bone.mesh), ring=n == TIBIA)
        for n, bone in enumerate(bones)
    )
    around = extent.nodes(STEP_MM)
    soft = soft_tissue(plan.generator("labels"), a, bones, around)
    return a, Scene(
        bones=tables,
        soft=make_table(around, soft, SOFT_CHANNELS),
        tile=np.zeros((2, 2, 2, 2), np.int16),
        tile_from_bone=np.broadcast_to(np.eye(3, 4), (len(tables), 2, 3, 4)).copy(),
    )


def pose_shapes(plan: SimulatedKnee, extent: Extent) -> tuple[Scene, dict[Modality, Session]]:
    """Return a knee's shapes and how it lies in CT and MR, as in its images up to what coarser nodes change
    (0.1 mm).
    """
    a, scene = shape_scene(plan, extent)
    return scene, sample_sessions(plan, scene.bones, 0.95 * min(a.joint_space))


def label_map(
    scene: Scene, bones_from_world: NDArray[np.float64], grid: Geometry, *, cortex: bool = False
) -> Volume[np.uint8]:
    """Return the label (`LABELS`) of every voxel of `grid` by its centre.

    Parameters
    ----------
    bones_from_world
        (bones, 4, 4): from LPS mm to each bone's frame.
    cortex
        Compact bone has labels of its own.
    """
    _, codes = compose(scene, bones_from_world @ grid.affine, grid.shape, sharp=True)
    lookup = np.zeros(256, np.uint8)
    for code, name in _OF_TISSUE.items():
        lookup[code] = LABELS[name]
    labels = lookup[codes]
    depths = [depth_on(t, bones_from_world[n] @ grid.affine, grid.shape) for n, t in enumerate(scene.bones)]
    solid = np.isin(codes, (tissue.COMPACT, tissue.CYST)) | (codes >= tissue.MARROW)
    bone = np.argmax(np.stack(depths), axis=0).astype(np.uint8) + np.uint8(1)
    labels[solid] = bone[solid]
    if cortex:
        compact = codes == tissue.COMPACT
        labels[compact] = bone[compact] + np.uint8(LABELS["femoral cortex"] - 1)
    return Volume(array=labels, geometry=grid)
