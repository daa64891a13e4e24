"""Makes the data of the simulated knee (`srrd_ray/simulation/data`) from the shape model, a whole-knee atlas and a
segmented knee, which are not part of the repository (sources: `data/README.md`).

Run: ``python benchmarks/anatomy_data.py FOLDER OUT``; FOLDER holds ``llp26_knee.npz``, ``spl_atlas_seg.nrrd`` and
``right_knee_bones_cartilage_menisci_fibula_labels.nrrd``. A minute.

 1. The model's bones are welded, mirrored to a right knee, turned (shafts upright, posterior condyles level) and moved.
 2. Each bone is fitted to both label maps (similarity and modes), which says how a real tibia lies under its femur, and
    where the vertices of the model are in the maps: cartilage is measured along their normals.
 3. The atlas is resampled in the frame of the mean knee; its structures are measured slice by slice.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import nrrd
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.transform import Rotation
from skimage import measure

from srrd_ray.simulation.meshes import Mesh, subdivision

Floats = NDArray[np.float64]
STEP_MM, SECTION_STEP_MM, THICKNESS_STEP_MM, COVERED_STEP = 0.002, 0.05, 0.02, 1 / 200
LEVELS = np.arange(-76, 89, 4.0)
SECTION_ANGLES, HULL_ANGLES, RING_ANGLES = 24, 48, 36
GRID = np.arange(-85.0, 86), np.arange(-90.0, 100), np.arange(-80.0, 91)
BONES = ("femur", "tibia", "fibula", "patella")
ATLAS = {"femur": 95, "tibia": 96, "fibula": 97, "patella": 98}
OTHER = {"femur": 5, "tibia": 6, "fibula": 8, "patella": 7}
CARTILAGE = (
    {"femur": (83,), "tibia": (84, 85), "patella": (86,)},
    {"femur": (1,), "tibia": (2, 3), "patella": (4,)},
)
MENISCI = {"medial": 82, "lateral": 81}
REST_TURN_DEG, REST_SHIFT_MM = (1.0, 0.0, 5.0), (-1.0, 7.8, -20.5)
"""How the tibia lies under the femur: the mean of both people, their 3° and 11° of flexion about the condyles taken
out.
"""
PATELLA_SHIFT_MM = (0.0, -1.0, -6.0)
JOINT_MM = (0.0, 7.5, -11.7)
"""The middle of the joint line in the frame of the upright femur."""
STRUCTURES = {
    "vastus lateralis": 12, "vastus medialis": 13, "biceps femoris": 15, "semimembranosus": 16, "semitendinosus": 17,
    "gracilis": 18, "sartorius": 19, "gastrocnemius medial": 20, "gastrocnemius lateral": 21, "popliteus": 22,
    "soleus": 23, "tibialis anterior": 24, "extensor digitorum": 25, "peroneus longus": 26, "anterior cruciate": 31,
    "posterior cruciate": 32, "fibular collateral": 33, "tibial collateral": 34, "patellar tendon": 35,
    "adductor magnus tendon": 41, "biceps tendon": 42, "iliotibial tract": 43, "popliteus tendon": 44,
    "semitendinosus tendon": 47, "gracilis tendon": 48, "peroneal nerve": 61, "tibial nerve": 62,
    "popliteal artery": 71, "popliteal vein": 72, "great saphenous vein": 77, "small saphenous vein": 78,
}  # fmt: skip
GROWS_DOWN = ("soleus", "tibialis anterior", "extensor digitorum", "peroneus longus")
GOES_UP = (
    "vastus lateralis", "vastus medialis", "biceps femoris", "semimembranosus", "semitendinosus", "gracilis",
    "sartorius", "adductor magnus tendon", "biceps tendon", "iliotibial tract", "semitendinosus tendon",
    "gracilis tendon", "peroneal nerve", "tibial nerve", "popliteal artery", "popliteal vein", "great saphenous vein",
)  # fmt: skip
GOES_DOWN = (
    *GROWS_DOWN, "gastrocnemius medial", "gastrocnemius lateral", "popliteus", "peroneal nerve", "tibial nerve",
    "popliteal artery", "popliteal vein", "great saphenous vein", "small saphenous vein",
)  # fmt: skip
"""What runs on beyond the atlas, above and below."""


class Shape(NamedTuple):
    """A bone of the model: mean (n, 3), modes (n, 3, 25) mm a SD, faces."""

    mean: Floats
    modes: Floats
    faces: NDArray[np.int32]

    def moved(self, turn: Floats, shift: Floats) -> Shape:
        """Return the shape after a rigid motion."""
        return Shape(self.mean @ turn.T + shift, np.einsum("ab,nbm->nam", turn, self.modes), self.faces)


class Person(NamedTuple):
    """A label map: labels, affine (4, 4) of the array's indices, the mirror that makes it a right knee."""

    labels: NDArray[np.integer]
    affine: Floats
    mirror: Floats


class Fit(NamedTuple):
    """A bone fitted: its vertices in the person's (mirrored) world, and the similarity (scale, turn, shift)."""

    vertices: Floats
    scale: float
    turn: Floats
    shift: Floats


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    upright = read_model(given.folder / "llp26_knee.npz")
    people = [
        read_person(given.folder / "spl_atlas_seg.nrrd", ATLAS),
        read_person(given.folder / "right_knee_bones_cartilage_menisci_fibula_labels.nrrd", OTHER),
    ]
    fits = [
        {b: fit(upright[b], surface(p, labels[b]) @ p.mirror) for b in BONES}
        for p, labels in zip(people, (ATLAS, OTHER), strict=True)
    ]
    rest, level = rest_moves(upright)
    bones = {b: close(upright[b].moved(*rest[b]).moved(*level)) for b in BONES}
    write_model(given.out / "llp26_knee.npz", bones)
    cartilage = {b: measure_cartilage(b, bones[b], people, fits) for b in ("femur", "tibia", "patella")}
    atlas = resample(people[0], fits[0], rest, level)
    write_tissues(given.out / "knee_tissues.npz", cartilage, atlas)


def read_model(path: Path) -> dict[str, Shape]:
    """Return the bones of a right knee, upright, the posterior condyles level."""
    stored = np.load(path)
    sd = stored["sd"][:25].astype(np.float64)
    whole = {
        n: weld(
            stored[f"{n}_mean"].astype(np.float64), stored[f"{n}_modes"][..., :25] * sd, stored[f"{n}_faces"]
        )
        for n in ("femur", "tibfib", "patella")
    }
    shin, calf = split(whole["tibfib"])
    bones = {"femur": whole["femur"], "tibia": shin, "fibula": calf, "patella": whole["patella"]}
    bones = {n: outwards(s.moved(np.diag([-1.0, 1, 1]), np.zeros(3))) for n, s in bones.items()}
    up = np.array([-0.1074, -0.0931, 0.98984]) + 0.5 * np.array([-0.13637, -0.13544, 0.98136])
    up /= np.linalg.norm(up)
    condyles = np.array([-54.62, 80.75, 815.5]) - np.array([-102.16, 86.91, 816.67])
    medial = condyles - up * (condyles @ up)
    medial /= np.linalg.norm(medial)
    turn = np.array([medial, np.cross(up, medial), up])
    bones = {n: s.moved(turn, np.zeros(3)) for n, s in bones.items()}
    origin = -middle_of_joint(bones["femur"].mean, bones["tibia"].mean)
    return {n: s.moved(np.eye(3), origin) for n, s in bones.items()}


def weld(mean: Floats, modes: Floats, faces: NDArray[np.integer]) -> Shape:
    """Return a mesh whose seams are sewn up."""
    _, first, where = np.unique(np.round(mean, 2), axis=0, return_index=True, return_inverse=True)
    sewn = where.ravel()[faces]
    proper = (sewn[:, 0] != sewn[:, 1]) & (sewn[:, 1] != sewn[:, 2]) & (sewn[:, 0] != sewn[:, 2])
    return Shape(mean[first], modes[first].astype(np.float64), sewn[proper].astype(np.int32))


def split(shape: Shape) -> tuple[Shape, Shape]:
    """Return the tibia and the fibula: the larger part and the smaller."""
    a, b, c = shape.faces.T
    count, ones = len(shape.mean), np.ones(len(a))
    links = sparse.coo_matrix((ones, (a, b)), (count, count)) + sparse.coo_matrix(
        (ones, (b, c)), (count, count)
    )
    _, part = connected_components(links, directed=False)
    found = []
    for n in np.argsort(-np.bincount(part))[:2]:
        kept = np.flatnonzero(part == n)
        new = np.full(count, -1)
        new[kept] = np.arange(len(kept))
        found.append(
            Shape(shape.mean[kept], shape.modes[kept], new[shape.faces[part[a] == n]].astype(np.int32))
        )
    return found[0], found[1]


def outwards(shape: Shape) -> Shape:
    """Return the shape with its faces counterclockwise from outside."""
    a, b, c = (shape.mean[shape.faces[:, n]] - shape.mean.mean(axis=0) for n in range(3))
    inside_out = (a * np.cross(b, c)).sum() < 0
    return Shape(shape.mean, shape.modes, shape.faces[:, ::-1] if inside_out else shape.faces)


def close(shape: Shape) -> Shape:
    """Return the shape with its cut shaft closed by a fan."""
    edges = np.concatenate([shape.faces[:, [0, 1]], shape.faces[:, [1, 2]], shape.faces[:, [2, 0]]])
    there = {(int(a), int(b)) for a, b in edges}
    cut = [(a, b) for a, b in there if (b, a) not in there]
    if not cut:
        return shape
    ring, center = sorted({a for a, _ in cut}), len(shape.mean)
    fan = np.array([[b, a, center] for a, b in cut], np.int32)
    return Shape(
        np.concatenate([shape.mean, shape.mean[ring].mean(axis=0)[None]]),
        np.concatenate([shape.modes, shape.modes[ring].mean(axis=0)[None]]),
        np.concatenate([shape.faces, fan]),
    )


def middle_of_joint(femur: Floats, tibia: Floats) -> Floats:
    """Return the middle between the condyles' lowest points, level with what lies over them on the tibia."""
    across = (femur[:, 0].max() + femur[:, 0].min()) / 2
    lowest = [_extreme(femur[side * (femur[:, 0] - across) > 8], 2, -1) for side in (1, -1)]
    plateau = tibia[tibia[:, 2] > tibia[:, 2].max() - 22]
    tops = [_top(tibia, p) for p in lowest]
    return np.array(
        [
            (lowest[0][0] + lowest[1][0]) / 2,
            (plateau[:, 1].min() + plateau[:, 1].max()) / 2,
            (lowest[0][2] + lowest[1][2] + tops[0] + tops[1]) / 4,
        ]
    )


def _extreme(points: Floats, axis: int, sign: int) -> Floats:
    return points[np.argmax(sign * points[:, axis])]


def _top(points: Floats, below: Floats) -> float:
    near = np.argsort(((points[:, :2] - below[:2]) ** 2).sum(axis=1))[:12]
    return float(points[near][:, 2].max())


def read_person(path: Path, labels: dict[str, int]) -> Person:
    array, header = nrrd.read(str(path))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.array(header["space directions"]).T, header["space origin"]
    person = Person(array, affine, np.eye(3))
    lateral = (surface(person, labels["fibula"]) - surface(person, labels["tibia"]).mean(axis=0))[:, 0].mean()
    return person._replace(mirror=np.diag([-1.0 if lateral > 0 else 1.0, 1, 1]))


def surface(person: Person, label: int) -> Floats:
    """Return points of a label's surface in the world."""
    smooth = ndimage.gaussian_filter(np.pad((person.labels == label).astype(np.float32), 1), 0.7)
    points, *_ = measure.marching_cubes(smooth, 0.5, step_size=2)
    return (points - 1) @ person.affine[:3, :3].T + person.affine[:3, 3]


def fit(shape: Shape, target: Floats) -> Fit:
    """Return the shape on a surface: nearest points, a similarity, from the tenth turn on also modes."""
    tree, modes, scores = cKDTree(target), without_pose(shape), np.zeros(25)
    low, high = target[:, 2].min() + 2, target[:, 2].max() - 2
    scale, turn, shift = 1.0, np.eye(3), _start(shape.mean, target)
    for n in range(40):
        points = shape.mean + modes @ scores
        world = scale * points @ turn.T + shift
        distance, nearest = tree.query(world)
        used = (distance < max(12 - 0.4 * n, 4)) & (world[:, 2] > low) & (world[:, 2] < high)
        used &= world[:, 0] < target[:, 0].max() + 5
        scale, turn, shift = similarity(points[used], target[nearest[used]])
        if n > 8:
            wanted = (target[nearest[used]] - shift) @ turn / scale - shape.mean[used]
            a = modes[used].reshape(-1, 25)
            scores = np.linalg.solve(a.T @ a + 50 * np.eye(25), a.T @ wanted.reshape(-1))
    return Fit(scale * (shape.mean + modes @ scores) @ turn.T + shift, scale, turn, shift)


def _start(mean: Floats, target: Floats) -> Floats:
    """Return the shift that lays the ends at the joint over each other."""
    height = np.ptp(mean[:, 2])
    if height < 60:
        ours, theirs = mean, target
    elif mean[:, 2].max() > 60:
        ours = mean[mean[:, 2] < 40]
        theirs = target[target[:, 2] < target[:, 2].min() + np.ptp(ours[:, 2])]
    else:
        ours = mean[mean[:, 2] > -40]
        theirs = target[target[:, 2] > target[:, 2].max() - np.ptp(ours[:, 2])]
    return (theirs.min(axis=0) + theirs.max(axis=0) - ours.min(axis=0) - ours.max(axis=0)) / 2


def similarity(moving: Floats, fixed: Floats) -> tuple[float, Floats, Floats]:
    """Return scale, turn and shift that lay `moving` on `fixed` (Umeyama 1991)."""
    a, b = moving.mean(axis=0), fixed.mean(axis=0)
    u, s, v = np.linalg.svd((fixed - b).T @ (moving - a))
    sign = np.array([1, 1, np.linalg.det(u @ v)])
    turn = u @ np.diag(sign) @ v
    scale = float((s * sign).sum() / ((moving - a) ** 2).sum())
    return scale, turn, b - scale * turn @ a


def without_pose(shape: Shape) -> Floats:
    """Return the modes less what moves the bone as a whole."""
    x, y, z = (shape.mean - shape.mean.mean(axis=0)).T
    one, none = np.ones_like(x), np.zeros_like(x)
    rigid = np.stack(
        [[one, none, none], [none, one, none], [none, none, one], [none, -z, y], [z, none, -x], [-y, x, none]]
    )
    rigid = np.moveaxis(rigid, (0, 1, 2), (2, 1, 0)).reshape(-1, 6)
    flat = shape.modes.reshape(-1, 25)
    return (flat - rigid @ np.linalg.lstsq(rigid, flat, rcond=None)[0]).reshape(shape.modes.shape)


Move = tuple[Floats, Floats]


def rest_moves(upright: dict[str, Shape]) -> tuple[dict[str, Move], Move]:
    """Return the move of each bone to its rest, and the last one of all: the joint line level and in the origin."""
    turn, origin = Rotation.from_rotvec(np.radians(REST_TURN_DEG)).as_matrix(), -np.array(JOINT_MM)
    below = turn, np.array(REST_SHIFT_MM) + origin
    rest = {"femur": (np.eye(3), origin), "tibia": below, "fibula": below,
            "patella": (np.eye(3), np.array(PATELLA_SHIFT_MM) + origin)}  # fmt: skip
    femur = upright["femur"].mean + origin
    medial, lateral = (_extreme(femur[side * femur[:, 0] > 8], 2, -1) for side in (1, -1))
    level = Rotation.from_euler("y", np.arctan2(medial[2] - lateral[2], medial[0] - lateral[0])).as_matrix()
    femur = femur @ level.T
    medial, lateral = (_extreme(femur[side * femur[:, 0] > 8], 2, -1) for side in (1, -1))
    shift = -np.array([(medial[0] + lateral[0]) / 2, 0, (medial[2] + lateral[2]) / 2 - 2.2])
    return rest, (level, shift)


def write_model(path: Path, bones: dict[str, Shape]) -> None:
    arrays: dict[str, NDArray[np.generic]] = {"mode_step_mm": np.array(STEP_MM, np.float32)}
    for name, shape in bones.items():
        arrays[f"{name}_mean"] = shape.mean.astype(np.float32)
        arrays[f"{name}_modes"] = np.rint(shape.modes / STEP_MM).astype(np.int16)
        arrays[f"{name}_faces"] = shape.faces.astype(np.uint16)
    np.savez_compressed(path, **arrays)


def measure_cartilage(
    bone: str, shape: Shape, people: list[Person], fits: list[dict[str, Fit]]
) -> tuple[Floats, Floats]:
    """Return thickness where there is any, and cover, on the vertices of the once refined bone."""
    refine, faces = subdivision(len(shape.mean), shape.faces)
    spread = _spreading(refine.shape[0], faces)
    found = []
    for person, fitted, labels in zip(people, fits, CARTILAGE, strict=True):
        vertices = fitted[bone].vertices
        if len(vertices) < refine.shape[1]:
            vertices = np.concatenate([vertices, vertices.mean(axis=0)[None]])
        found.append(
            _along_normals(person, np.isin(person.labels, labels[bone]), Mesh(refine @ vertices, faces))
        )
    smooth = [spread @ (spread @ np.minimum(t, 4.5)) for t in found]
    covered = np.mean([spread @ (spread @ (spread @ (t > 0.5))) for t in found], axis=0)
    mean = sum(smooth) / np.maximum(sum((t > 0.3) for t in smooth), 1)
    return spread @ np.where(covered > 0.25, mean, 0), covered


def _spreading(count: int, faces: NDArray[np.int32]) -> sparse.csr_matrix:
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    links = sparse.coo_matrix((np.ones(len(a)), (a, b)), (count, count)).tocsr()
    links = ((links + links.T) > 0).astype(np.float64)
    mean = sparse.diags(1 / np.asarray(links.sum(axis=1)).ravel()) @ links
    return (0.5 * sparse.eye(count) + 0.5 * mean).tocsr()


def _along_normals(person: Person, cartilage: NDArray[np.bool_], mesh: Mesh) -> Floats:
    total, normals, image = np.zeros(len(mesh.vertices)), mesh.normals(), cartilage.astype(np.float32)
    back = np.linalg.inv(person.affine[:3, :3]).T
    for step in np.arange(-4, 7, 0.1):
        index = ((mesh.vertices + step * normals) @ person.mirror - person.affine[:3, 3]) @ back
        total += 0.1 * (ndimage.map_coordinates(image, index.T, order=1, mode="constant") > 0.5)
    return total


def resample(person: Person, fitted: dict[str, Fit], rest: dict[str, Move], level: Move) -> NDArray[np.uint8]:
    """Return the atlas's labels on `GRID` of the mean knee (z, y, x), 255 where it ends: above as its femur lies,
    below as its tibia.
    """
    z, y, x = np.meshgrid(*GRID[::-1], indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    upper = np.clip(0.5 + points[:, 2:] / 40, 0, 1)
    index = sum(
        weight * _index(person, fitted[bone], rest[bone], level, points)
        for bone, weight in (("femur", upper), ("tibia", 1 - upper))
    )
    nearest = np.rint(index).astype(np.intp)
    inside = ((nearest >= 0) & (nearest < person.labels.shape)).all(axis=1)
    labels = np.full(len(points), 255, np.uint8)
    labels[inside] = person.labels[tuple(nearest[inside].T)]
    return labels.reshape(z.shape)


def _index(person: Person, fitted: Fit, rest: Move, level: Move, points: Floats) -> Floats:
    upright = ((points - level[1]) @ level[0] - rest[1]) @ rest[0]
    world = (fitted.scale * upright @ fitted.turn.T + fitted.shift) @ person.mirror
    return (world - person.affine[:3, 3]) @ np.linalg.inv(person.affine[:3, :3]).T


def write_tissues(path: Path, cartilage: dict[str, tuple[Floats, Floats]], atlas: NDArray[np.uint8]) -> None:
    sections = [run_on(name, measure_sections(atlas == label)) for name, label in STRUCTURES.items()]
    center, hull = measure_hull(atlas)
    np.savez_compressed(
        path,
        names=np.array([*STRUCTURES, "quadriceps tendon"]),
        levels_mm=LEVELS.astype(np.float32),
        sections_mm=np.rint(np.stack([*sections, quadriceps_tendon()]) / SECTION_STEP_MM).astype(np.int16),
        hull_mm=np.rint(hull / SECTION_STEP_MM).astype(np.int16),
        hull_center_mm=center.astype(np.float32),
        **{
            f"{b}_cartilage_mm": np.rint(c[0] / THICKNESS_STEP_MM).astype(np.uint8)
            for b, c in cartilage.items()
        },
        **{f"{b}_covered": np.rint(c[1] / COVERED_STEP).astype(np.uint8) for b, c in cartilage.items()},
        **{f"{n}_meniscus_mm": measure_ring(atlas, n) for n in MENISCI},
    )


def _angles(count: int) -> Floats:
    return (np.arange(count) + 0.5) / count * 2 * np.pi - np.pi


def measure_sections(mask: NDArray[np.bool_]) -> Floats:
    """Return centre x, y and radii of a structure's largest part at every level; zeros above and below it."""
    out = np.zeros((len(LEVELS), 2 + SECTION_ANGLES))
    for n, level in enumerate(LEVELS):
        k = int(level - GRID[2][0])
        part, count = ndimage.label(mask[max(k - 1, 0) : k + 2].mean(axis=0) > 0.34)
        if not count or (part > 0).sum() < 3:
            continue
        largest = part == 1 + np.argmax(np.bincount(part.ravel())[1:])
        middle = np.argwhere(largest).mean(axis=0)
        out[n, :2] = middle[1] + GRID[0][0], middle[0] + GRID[1][0]
        out[n, 2:] = [_radius(largest, middle, angle) for angle in _angles(SECTION_ANGLES)]
    there = np.flatnonzero(out[:, 2:].any(axis=1))
    whole = np.arange(there[0], there[-1] + 1)
    for column in range(out.shape[1]):
        out[whole, column] = np.interp(whole, there, out[there, column])
    smooth = ndimage.gaussian_filter1d(out[whole, 2:], 0.7, axis=1, mode="wrap")
    out[whole] = ndimage.gaussian_filter1d(
        np.column_stack([out[whole, :2], smooth]), 0.7, axis=0, mode="nearest"
    )
    return out


def _radius(mask: NDArray[np.bool_], middle: Floats, angle: float) -> float:
    r = np.arange(0, 45, 0.25)
    line = [middle[0] + r * np.sin(angle), middle[1] + r * np.cos(angle)]
    inside = ndimage.map_coordinates(mask.astype(np.float32), line, order=1) > 0.5
    return float(r[inside].max() + 0.1) if inside.any() else 0.4


def run_on(name: str, sections: Floats) -> Floats:
    """Return sections that keep their last shape beyond the atlas where the structure does; its centre goes on."""
    out, there = sections.copy(), np.flatnonzero(sections[:, 2:].any(axis=1))
    first, last = there[0], there[-1]
    out[:first, :2], out[last + 1 :, :2] = out[first, :2], out[last, :2]
    if name in GOES_UP:
        top = min(last, int(np.searchsorted(LEVELS, 72)))
        slope = np.clip((out[top, :2] - out[top - 3, :2]) / 3, -1.2, 1.2)
        for n in range(top + 1, len(LEVELS)):
            out[n] = out[top]
            out[n, :2] += 0.7 * slope * (n - top)
    if name in GOES_DOWN:
        deeper = name in (
            *GROWS_DOWN,
            "gastrocnemius lateral",
            "popliteal artery",
            "popliteal vein",
            "peroneal nerve",
        )
        end = max(first, int(np.searchsorted(LEVELS, -36 if deeper else -32)))
        grows = name in GROWS_DOWN
        slope = np.zeros(2) if grows else np.clip((out[end, :2] - out[end + 3, :2]) / 3, -1, 1)
        for n in range(end - 1, -1, -1):
            out[n] = out[end]
            out[n, :2] += 0.6 * slope * (end - n)
            out[n, 2:] *= 1.035 ** (end - n) if grows else 1
    if name == "patellar tendon":
        out[LEVELS < -46, 2:] = 0
    return out


def quadriceps_tendon() -> Floats:
    """Return the one tendon that the atlas lacks: flat, from the patella upwards."""
    out, angle = np.zeros((len(LEVELS), 2 + SECTION_ANGLES)), _angles(SECTION_ANGLES)
    for n, z in enumerate(LEVELS):
        if z >= 50:
            half = 18 - 0.08 * (z - 54)
            out[n, :2] = -7, -46.5 + 0.12 * (z - 54)
            out[n, 2:] = 1 / np.hypot(np.cos(angle) / half, np.sin(angle) / 3.6)
    return out


def measure_hull(atlas: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Return the middle of the limb and radii of the convex hull of what lies under the fascia."""
    center, hull = np.array([-3.0, 2.0]), np.zeros((len(LEVELS), HULL_ANGLES))
    seen = np.zeros(len(LEVELS), bool)
    for n, level in enumerate(LEVELS):
        plane = atlas[int(level - GRID[2][0])]
        deep = (plane > 3) & (plane < 255) & ~np.isin(plane, (64, 77, 78))
        if deep.sum() < 500:
            continue
        points = np.argwhere(ndimage.binary_opening(deep))[:, ::-1] + [GRID[0][0], GRID[1][0]] - center
        sides = ConvexHull(points).equations
        for m, angle in enumerate(_angles(HULL_ANGLES)):
            along = sides[:, :2] @ [np.cos(angle), np.sin(angle)]
            reach = -sides[along > 1e-9, 2] / along[along > 1e-9]
            hull[n, m] = reach[reach > 0].min()
        seen[n] = (plane != 255).mean() > 0.55
    good = np.flatnonzero(seen)
    for n in np.flatnonzero(~seen):
        hull[n] = hull[good[np.argmin(np.abs(good - n))]]
    hull = ndimage.gaussian_filter1d(hull, 1.0, axis=1, mode="wrap")
    return center, ndimage.gaussian_filter1d(hull, 1.5, axis=0, mode="nearest")


def measure_ring(atlas: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """Return a meniscus seen from above: its middle, then inner and outer radii."""
    seen = ndimage.gaussian_filter((atlas == MENISCI[name]).sum(axis=0).astype(np.float64), 0.6) > 0.8
    rows, columns = np.nonzero(seen)
    x = (columns.min() + columns.max()) / 2 + GRID[0][0] + (-2 if name == "medial" else 2)
    y = (rows.min() + rows.max()) / 2 + GRID[1][0]
    inner, outer = np.zeros(RING_ANGLES), np.zeros(RING_ANGLES)
    r = np.arange(0, 35, 0.25)
    for n, angle in enumerate(_angles(RING_ANGLES)):
        line = [y - GRID[1][0] + r * np.sin(angle), x - GRID[0][0] + r * np.cos(angle)]
        inside = ndimage.map_coordinates(seen.astype(np.float64), line, order=1) > 0.5
        if inside.any():
            inner[n], outer[n] = r[inside].min(), r[inside].max()
    return np.concatenate([[x, y], inner, outer]).astype(np.float32)


if __name__ == "__main__":
    main()
