"""Lumps that a found bone may have, and bones of people that have none: what `segmentation/lumps.py` tells apart.

Run: ``OMP_NUM_THREADS=1 python benchmarks/lumps.py [--people 26] [--knees 130 --maps FOLDER] [--grown 60] [--spacing 2.0]``

 - people: each of the 26 adults of the shape model against a model of the other 25 (`--model llp26_knee.npz`, the
   original with everybody's scores); turned by up to 15 degrees, the shaft cut 40-120 mm from the joint.
 - knees: label maps of simulated knees of all grades with their osteophytes (``RUN/label-maps/…/*.npz``, made where they
   are not there), the field of view cut to 60-190 mm along the leg and 60-144 mm across.
 - grown: balls of several sizes on stalks of several widths, glued to simulated bones anywhere on the part that is seen.

Printed are the largest part farther than 4 mm outside of the fitted shape, whether it is told as a lump, and CPU s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import CLASSES, FEMUR, TIBIA
from srrd_ray.segmentation.lumps import LUMP_CM3, OUTSIDE_MM, find_lump, outside_of
from srrd_ray.segmentation.shape_fit import UP, Model, fit_shape, make_model, shape_model, surface_of
from srrd_ray.simulation.meshes import Mesh, signed_depth
from srrd_ray.simulation.shape_model import MODES, smooth_mesh, templates
from srrd_ray.stages.shared.label_maps import LabelMapStore

Bone = Volume[np.bool_]
MAP_MM, SEED, KNEES = 0.8, 20262, 130
SIZES_CM3, STALKS_MM = (1.5, 3.0, 4.5, 6.0, 12.0, 25.0), (6.0, 10.0, 20.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="llp26_knee.npz with the scores of its people")
    parser.add_argument("--maps", type=Path, default=Path("label-maps"))
    parser.add_argument("--people", type=int, default=0)
    parser.add_argument("--knees", type=int, default=0)
    parser.add_argument("--grown", type=int, default=0, help="bones with a lump")
    parser.add_argument("--spacing", type=float, default=2.0, help="mm, of the grid of the bones")
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    for number in (FEMUR, TIBIA):
        shape_model(number)
        if given.people:
            show_people(given.model, number, given.people, given.spacing, rng)
    store = LabelMapStore(folder=given.maps, knees=KNEES, seed=SEED, voxel_mm=MAP_MM)
    if given.knees:
        show_knees(store, given.knees, given.spacing, rng)
    if given.grown:
        show_grown(store, given.grown, given.spacing, rng)


def show_people(path: Path, number: int, count: int, spacing: float, rng: np.random.Generator) -> None:
    stored = np.load(path)
    scores = (stored["scores"] / stored["sd"][:, None])[:MODES].T
    template = templates()[number - FEMUR]
    shapes = template.mean + np.einsum("ncm,km->knc", template.modes, scores)
    found = []
    for person in range(min(count, len(shapes))):
        model = model_of(np.delete(shapes, person, axis=0), number)
        mesh = turned(smooth_mesh(number - FEMUR, shapes[person]), rng)
        bone = voxelised(mesh, spacing, UP[number] * rng.uniform(40, 120))
        found.append(outside_cm3(bone, model))
    print(f"{CLASSES[number]} of {len(found)} people left out: {summary(found)}", flush=True)


def model_of(shapes: NDArray[np.float64], number: int) -> Model:
    """Return the model of some people's bones: principal components."""
    mean = shapes.mean(axis=0)
    _, spread, axes = np.linalg.svd((shapes - mean).reshape(len(shapes), -1), full_matrices=False)
    modes = (axes * spread[:, None] / np.sqrt(len(shapes) - 1)).reshape(-1, *mean.shape)
    padded = np.concatenate([modes, np.zeros((MODES, *mean.shape))])[:MODES]
    return make_model(mean, np.moveaxis(padded, 0, -1), number)


def turned(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Return a bone as it lies in a scanner, of a right or a left leg."""
    turn = Rotation.from_euler("xyz", rng.uniform(-15, 15, 3), degrees=True).as_matrix()
    vertices = (mesh.vertices - mesh.vertices.mean(axis=0)) @ turn.T
    if rng.random() < 0.5:
        return Mesh(vertices, mesh.faces)
    return Mesh(vertices * [-1, 1, 1], np.ascontiguousarray(mesh.faces[:, [0, 2, 1]]))


def voxelised(mesh: Mesh, spacing: float, length: float) -> Bone:
    """Return a bone as far as `length` mm from its joint end, up or (negative) down."""
    low, high = mesh.vertices.min(axis=0) - 10, mesh.vertices.max(axis=0) + 10
    if length > 0:
        high[2] = mesh.vertices[:, 2].min() + length
    else:
        low[2] = mesh.vertices[:, 2].max() + length
    x, y, z = (int(n) for n in (high - low) / spacing)
    depth = signed_depth(mesh, low, spacing, (z, y, x), 6.0).depth
    return Volume(array=depth > 0, geometry=Geometry.axis_aligned((z, y, x), (spacing,) * 3, low))


def outside_cm3(bone: Bone, model: Model) -> tuple[float, float, float]:
    """Return the largest part outside of the fitted shape (cm3), the misfit (mm), and CPU s."""
    started = time.process_time()
    points, normals = surface_of(bone)
    shape = fit_shape(points, normals, model)
    outside, inside, skips = outside_of(bone, shape)
    parts, count = ndimage.label(inside & (outside > OUTSIDE_MM))
    voxels = int(np.bincount(parts.ravel())[1:].max()) if count else 0
    spent = time.process_time() - started
    return voxels * bone.geometry.voxel_mm3 * float(np.prod(skips)) / 1000, shape.misfit_mm(points), spent


def summary(found: list[tuple[float, float, float]]) -> str:
    volumes, misfits, seconds = (np.array(values) for values in zip(*found, strict=True))
    return (
        f"largest part beyond {OUTSIDE_MM:g} mm: at most {volumes.max():.2f} cm3, {np.sum(volumes >= LUMP_CM3)} told; "
        f"misfit {np.median(misfits):.2f} mm, at most {misfits.max():.2f}; {seconds.mean():.2f} CPU s a bone"
    )


def bones_of(
    store: LabelMapStore, knee: int, spacing: float, rng: np.random.Generator
) -> Iterator[tuple[int, Bone]]:
    """Yield femur and tibia of a simulated knee in a field of view of some size."""
    labels = store(knee)
    skip = max(round(spacing / MAP_MM), 1)
    sizes = [rng.uniform(60, 190), rng.uniform(60, 144), rng.uniform(60, 144)]
    box = tuple(
        slice(max(int((n - mm / MAP_MM) / 2), 0), min(int((n + mm / MAP_MM) / 2), n), skip)
        for n, mm in zip(labels.shape, sizes, strict=True)
    )
    seen = labels[box]
    grid = Geometry.axis_aligned(seen.shape, (skip * MAP_MM,) * 3, (0, 0, 0))
    for number in (FEMUR, TIBIA):
        yield number, Volume(array=seen == number, geometry=grid)


def show_knees(store: LabelMapStore, count: int, spacing: float, rng: np.random.Generator) -> None:
    found: dict[int, list[tuple[float, float, float]]] = {FEMUR: [], TIBIA: []}
    for knee in range(count):
        for number, bone in bones_of(store, knee, spacing, rng):
            found[number].append(outside_cm3(bone, shape_model(number)))
    for number, values in found.items():
        print(f"{CLASSES[number]} of {count} simulated knees: {summary(values)}", flush=True)


def show_grown(store: LabelMapStore, count: int, spacing: float, rng: np.random.Generator) -> None:
    """Print how many of lumps of each size and stalk are told, and how much of them is cut off."""
    told: dict[tuple[float, float], list[tuple[bool, float, float]]] = {}
    for n in range(count):
        for number, bone in bones_of(store, n % KNEES, spacing, rng):
            for cm3 in SIZES_CM3:
                stalk = float(rng.choice(STALKS_MM))
                grown = with_lump(bone, cm3, stalk, rng)
                lump = find_lump(Volume(array=bone.array | grown, geometry=bone.geometry), number, None)
                cut = np.zeros_like(grown) if lump is None else lump.mask
                left = float((cut & grown).sum() / grown.sum())
                taken = float((cut & bone.array).sum()) * bone.geometry.voxel_mm3 / 1000
                told.setdefault((cm3, stalk), []).append((lump is not None, left, taken))
    for (cm3, stalk), cases in sorted(told.items()):
        share, cut_share, taken = np.array(cases, float).T
        print(
            f"ball of {cm3:4.1f} cm3 on a stalk of {stalk:2.0f} mm: {int(share.sum())} of {len(cases)} told; of those "
            f"{cut_share[share > 0].mean() if share.any() else 0:.2f} cut off, with {taken.max():.2f} cm3 of bone at most"
        )


def with_lump(bone: Bone, cm3: float, stalk_mm: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a ball beside a bone, 3 mm away, and the stalk that joins them; both end where the image does."""
    points, normals = surface_of(bone)
    at = int(rng.integers(len(points)))
    radius = (cm3 * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    where = bone.geometry.index_to_lps(np.moveaxis(np.indices(bone.array.shape), 0, -1)) - points[at]
    along = where @ normals[at]
    across = np.linalg.norm(where - along[..., None] * normals[at], axis=-1)
    ball = np.hypot(along - radius - 3, across) < radius
    stalk = (across < stalk_mm / 2) & (along > -3) & (along < radius)
    grown: NDArray[np.bool_] = (ball | stalk) & ~bone.array
    return grown


if __name__ == "__main__":
    main()
