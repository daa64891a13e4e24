"""A phantom knee in Hounsfield units whose pose and structure are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
GRID = Geometry.axis_aligned((60, 48, 90), (0.8, 0.8, 0.8), (-35.6, -18.8, -23.6))
Matrix = NDArray[np.float64]


def knee(
    seed: int = 0, gap_mm: float = 4.0, inside_hu: float = 350.0, soft_hu: float = 50.0
) -> tuple[Volume[np.float32], Volume[np.uint8]]:
    """Return CT and labels of a right knee: two unlike condyles over a plateau, plates of cortex, random trabeculae."""
    x, y, z = np.moveaxis(GRID.index_to_lps(np.moveaxis(np.indices(GRID.shape), 0, -1)), -1, 0)
    medial = (x - 17) ** 2 + 0.8 * (y - 1) ** 2 + (z - gap_mm - 17) ** 2 < 19.5**2
    lateral = (x + 18) ** 2 + 0.7 * (y + 3) ** 2 + (z - gap_mm - 15) ** 2 < 17.0**2
    shaft = (np.abs(x + 0.1 * y) < 31) & (z > gap_mm + 14) & ~((np.abs(x) < 9) & (y > -6))
    shaft |= (np.abs(x) < 30) & (z > gap_mm + 14) & (y < -8)
    femur = medial | lateral | shaft
    tibia = (z < -0.5 + 0.04 * x) & ((x / 34) ** 2 + (y / 30) ** 2 < 1 + 0.01 * z)
    tibia |= (x / 4) ** 2 + ((y - 3) / 9) ** 2 + (z / 5) ** 2 < 1
    tibia &= ~femur
    noise = np.random.default_rng(seed).normal(size=GRID.shape)
    grain = ndimage.gaussian_filter(noise, 1.2)
    hu = np.full(GRID.shape, soft_hu)
    for bone in (femur, tibia):
        depth = ndimage.distance_transform_edt(np.pad(bone, 1, mode="edge"))[1:-1, 1:-1, 1:-1] * 0.8
        hu = np.where(bone, np.where(depth < 1.6, 1100.0, inside_hu * (1 + 0.25 * grain / grain.std())), hu)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(hu, 0.6, mode="nearest")
    labels = (femur * 1 + tibia * 2).astype(np.uint8)
    return Volume(array=smooth.astype(np.float32), geometry=GRID), Volume(array=labels, geometry=GRID)


def rigid(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Matrix:
    """Return a rotation about the phantom's centre, then a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def moved(ct: Volume[np.float32], pose: Matrix, noise_hu: float = 25.0, seed: int = 5) -> Volume[np.float32]:
    """Return the phantom in another pose on a sagittal grid of other voxels, with noise: what it was at p is at pose(p)."""
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 0.7, -0.7, 1.1, 1.0
    grid = Geometry.from_affine((56, 58, 48), affine)
    affine[:3, 3] = pose[:3, 3] - (grid.index_to_lps((28, 29, 24)) - grid.index_to_lps((0, 0, 0)))
    grid = Geometry.from_affine((56, 58, 48), affine)
    index = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    there = np.linalg.inv(pose)
    at = np.moveaxis(ct.geometry.lps_to_index(index @ there[:3, :3].T + there[:3, 3]), -1, 0)
    array: NDArray[np.float32] = ndimage.map_coordinates(
        ct.array, at, order=1, mode="nearest", output=np.float32
    )
    array += np.random.default_rng(seed).normal(0, noise_hu, array.shape).astype(np.float32)
    return Volume(array=array, geometry=grid)


def moved_labels(labels: Volume[np.uint8], like: Volume[np.float32], pose: Matrix) -> Volume[np.uint8]:
    """Return the labels in the other pose on the grid of `like`."""
    index = like.geometry.index_to_lps(np.moveaxis(np.indices(like.geometry.shape), 0, -1))
    there = np.linalg.inv(pose)
    at = np.moveaxis(labels.geometry.lps_to_index(index @ there[:3, :3].T + there[:3, 3]), -1, 0)
    array: NDArray[np.uint8] = ndimage.map_coordinates(
        labels.array, at, order=0, mode="nearest", output=np.uint8
    )
    return Volume(array=array, geometry=like.geometry)


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return twice the common voxels over all."""
    return 2.0 * float((first & second).sum()) / float(first.sum() + second.sum())
