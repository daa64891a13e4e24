"""The bones of one knee: shape, roughness, osteophytes, cartilage and cortex on their surfaces, in
contact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from srrd_ray.simulation.anatomy import Anatomy, sigmoid
from srrd_ray.simulation.meshes import Mesh, Points
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.shape_model import NAMES, shape_bones, smooth_mesh, templates

FEMUR, TIBIA, FIBULA, PATELLA = range(4)
Values = NDArray[np.float64]
ROUGHNESS_MM, ROUGHNESS_WAVES_MM = (0.28, 0.10), (4.0, 16.0)
"""SD of what the model does not know of a surface, bare and under cartilage; wavelengths of it."""
LUMPS_MM = (9.0, 28.0)
"""Wavelengths of osteophytes along the margin."""
COVERED_FROM, COVERED_OVER = 0.40, 0.10
"""Cartilage is where it covers this part of people; it thins out over so much of it."""
CONTACT_MM = 0.15
"""How far cartilages press into each other where they bear."""
FIBULA_GAP_MM = 1.3
OSTEOPHYTE_LIMIT_MM = 9.0
"""How far any part of an osteophyte stands out at most."""
WIDTH_OF_FEMURS, LIKENESS = {"tibia": 0.932, "patella": 0.488}, 0.35
"""Mean mediolateral size of bones against the femur's in the model, and how far (power of the ratio) a bone
is brought to it: sizes go together more closely in 44 people than in the 26 of the model.
"""


class Bone(NamedTuple):
    """A bone's surface, and on its vertices: cartilage and compact bone in mm, and 1 on the joint surface,
    else 0.

    `model` are the vertices of the shape model, for what is laid out relative to the bones.
    """

    mesh: Mesh
    model: Points
    cartilage: Values
    compact: Values
    articular: Values


def build_bones(plan: SimulatedKnee, a: Anatomy) -> tuple[Bone, ...]:
    """Return femur, tibia, fibula and patella of a knee at rest: its joint spaces as the anatomy says,
    cartilages touching.
    """
    rng = plan.generator("bones")
    models = _alike([a.size / _model_size(a) * v for v in shape_bones(a.scores)])
    rough = [_roughness(rng) for _ in NAMES]
    thickness = [_cartilage(rng, a, n, smooth_mesh(n, v).vertices) for n, v in enumerate(models)]
    meshes = [_surface(a, n, v, rough[n]) for n, v in enumerate(models)]
    moves = _lay_in_contact(a, meshes, thickness)
    meshes = [Mesh(_moved(m.vertices, move), m.faces) for m, move in zip(meshes, moves, strict=True)]
    models = [_moved(v, move) for v, move in zip(models, moves, strict=True)]
    thickness = _fit_cartilage(a, meshes, thickness)
    articular = [np.asarray(sigmoid((t - 0.5) / 0.15), np.float64) for t in thickness]
    return tuple(
        Bone(mesh, model, t, _compact(rng, a, n, mesh.vertices, s), s)
        for n, (mesh, model, t, s) in enumerate(zip(meshes, models, thickness, articular, strict=True))
    )


def _model_size(a: Anatomy) -> float:
    """Return the width of the unscaled femur against that of the mean one."""
    femur = shape_bones(a.scores)[FEMUR]
    return float(np.ptp(femur[:, 0]) / 80.0)


def _alike(models: list[Points]) -> list[Points]:
    """Return the bones with tibia, fibula and patella scaled towards the size that goes with their femur."""
    femur, tibia, fibula, patella = models
    shin, cap = (
        float(WIDTH_OF_FEMURS[name] * np.ptp(femur[:, 0]) / np.ptp(bone[:, 0])) ** LIKENESS
        for name, bone in (("tibia", tibia), ("patella", patella))
    )
    middle = patella.mean(axis=0)
    return [femur, shin * tibia, shin * fibula, middle + cap * (patella - middle)]


class _Waves(NamedTuple):
    """A sum of plane waves of unit variance: wave vectors (n, 3) 1/mm, phases and amplitudes (n,)."""

    vectors: Points
    phases: Values
    amplitudes: Values

    def at(self, points: Points) -> Values:
        """Return the sum at points (n, 3). Summed by einsum: a BLAS may round by its number of threads."""
        waves = np.cos(np.einsum("nc,wc->nw", points, self.vectors) + self.phases)
        out: Values = np.einsum("nw,w->n", waves, self.amplitudes)
        return out


def random_waves(rng: np.random.Generator, shortest_mm: float, longest_mm: float, count: int = 48) -> _Waves:
    """Return band-limited noise: waves of random direction, their amplitude growing with their length."""
    length = np.exp(rng.uniform(np.log(shortest_mm), np.log(longest_mm), count))
    direction = rng.standard_normal((count, 3))
    direction *= (2 * np.pi / length / np.linalg.norm(direction, axis=1))[:, None]
    amplitude = length / np.sqrt((length**2).sum() / 2)
    return _Waves(direction, rng.uniform(0, 2 * np.pi, count), amplitude)


def _roughness(rng: np.random.Generator) -> tuple[_Waves, _Waves]:
    return random_waves(rng, *ROUGHNESS_WAVES_MM), random_waves(rng, *LUMPS_MM)


def _surface(a: Anatomy, bone: int, model: Points, rough: tuple[_Waves, _Waves]) -> Mesh:
    """Return the smooth surface with its roughness and osteophytes."""
    mesh, covered = smooth_mesh(bone, model), templates()[bone].covered
    normals = mesh.normals()
    bare, under = ROUGHNESS_MM
    out = mesh.vertices + ((bare + (under - bare) * covered) * rough[0].at(mesh.vertices))[:, None] * normals
    if bone in (FEMUR, TIBIA):
        height, outwards = _osteophytes(a, bone, mesh.vertices, covered)
        lumps = np.clip(0.65 + 0.6 * rough[1].at(mesh.vertices), 0, 1.7)
        direction = 0.5 * normals + outwards
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
        out = out + np.minimum(height * lumps, OSTEOPHYTE_LIMIT_MM)[:, None] * direction
    return Mesh(out, mesh.faces)


def _osteophytes(a: Anatomy, bone: int, points: Points, covered: Values) -> tuple[Values, Points]:
    """Return how far the margin of the joint surface grows, mm, and the horizontal direction outwards."""
    x, y, z = points.T
    medial = sigmoid(x / 3)
    spur = a.osteophyte[0] * medial + a.osteophyte[1] * (1 - medial)
    margin = np.exp(-(((covered - 0.38) / 0.25) ** 2))
    center = np.where(x > 0, a.centers_x[0], a.centers_x[1])
    away = np.hypot(x - 0.5 * center, y)
    rim = sigmoid((away - 0.27 * a.width) / 2.5)
    if bone == FEMUR:
        rim = sigmoid((np.abs(x) - 0.30 * a.width) / 2.5) * sigmoid((38 * a.size - z) / 4)
    outwards = np.column_stack([x - 0.5 * center, y, np.zeros_like(x)])
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)
    return spur * margin * rim, outwards


def _cartilage(rng: np.random.Generator, a: Anatomy, bone: int, points: Points) -> Values:
    """Return cartilage before the bones meet: the template's map at this person's thickness, uneven, and
    worn.
    """
    template, uneven = templates()[bone], random_waves(rng, 12.0, 40.0)
    if bone == FIBULA:
        return np.zeros(len(points))
    mean = a.cartilage[(FEMUR, TIBIA, PATELLA).index(bone)]
    where = np.clip((template.covered - COVERED_FROM) / COVERED_OVER, 0, 1)
    thickness = template.cartilage * where * (1 + 0.10 * uneven.at(points))
    thickness *= mean / thickness[where > 0.5].mean()
    if bone == PATELLA:
        return np.maximum(thickness, 0)
    return np.asarray(np.maximum(thickness * _wear(a, bone, points), 0))


def _wear(a: Anatomy, bone: int, points: Points) -> Values:
    """Return the part of the cartilage that is left: least in the middle of the contact."""
    x, y, z = points.T
    left = np.ones(len(points))
    for side in (0, 1):
        r2 = ((x - a.centers_x[side]) / 14) ** 2 + ((y + (4 if bone == FEMUR else 0)) / 19) ** 2
        middle = np.exp(-(r2**1.5)) * (sigmoid((20 - z) / 3) if bone == FEMUR else 1.0)
        left = left - (1 - a.left[side]) * middle
    return left


def _lay_in_contact(a: Anatomy, meshes: list[Mesh], thickness: list[Values]) -> list[Points]:
    """Return the rigid moves (3, 4) of the bones from the model's rest: the tibia (with its fibula) turned
    and raised to the joint spaces, the patella laid on its groove, the fibula clear of the tibia.
    """
    still = np.eye(3, 4)
    tibia = _tibia_move(a, meshes, thickness[TIBIA])
    patella = still.copy()
    patella[1, 3] = -8.0  # in front of the groove, from where it comes to it
    cover = cKDTree(meshes[FEMUR].vertices)
    facing = thickness[PATELLA] > 0.3
    for _ in range(8):
        gap, n = _gap(cover, meshes[FEMUR], _moved(meshes[PATELLA].vertices[facing], patella))
        free = gap - thickness[PATELLA][facing] - thickness[FEMUR][n]
        patella[1, 3] += float(np.percentile(free, 3)) + CONTACT_MM
    fibula = tibia.copy()
    side = cKDTree(_moved(meshes[TIBIA].vertices, tibia))
    shin = Mesh(_moved(meshes[TIBIA].vertices, tibia), meshes[TIBIA].faces)
    away = np.array([-0.75, 0.66, 0.0])
    for _ in range(6):
        gap, _ = _gap(side, shin, _moved(meshes[FIBULA].vertices, fibula))
        fibula[:, 3] += away * max(FIBULA_GAP_MM - float(gap.min()), 0.0)
    return [still, tibia, fibula, patella]


def _tibia_move(a: Anatomy, meshes: list[Mesh], thickness: Values) -> Points:
    """Return the move of the tibia that gives both compartments their joint space, by turning about the
    anteroposterior axis and along z.
    """
    move, cover = np.eye(3, 4), cKDTree(meshes[FEMUR].vertices)
    plateau = meshes[TIBIA].vertices[(thickness > 0.2) & (np.abs(meshes[TIBIA].vertices[:, 0]) > 6)]
    sides = plateau[:, 0] < 0
    for _ in range(10):
        gap, _ = _gap(cover, meshes[FEMUR], _moved(plateau, move))
        excess = np.array([float(gap[sides == n].min()) - a.joint_space[n] for n in (0, 1)])
        lever = a.centers_x[0] - a.centers_x[1]
        turn = Rotation.from_euler("y", -(excess[0] - excess[1]) / lever).as_matrix()
        move = turn @ move
        move[2, 3] += 0.9 * excess.mean()
    return move


def _gap(tree: cKDTree, mesh: Mesh, points: Points) -> tuple[Values, NDArray[np.intp]]:
    """Return distances of points from a surface, negative inside, and the vertices nearest to them."""
    distance, n = tree.query(points)
    inside = ((points - mesh.vertices[n]) * mesh.normals()[n]).sum(axis=1) < 0
    return np.where(inside, -distance, distance), n


def _moved(points: Points, move: Points) -> Points:
    return np.asarray(np.einsum("nc,dc->nd", points, move[:, :3]) + move[:, 3])


def _fit_cartilage(a: Anatomy, meshes: list[Mesh], thickness: list[Values]) -> list[Values]:
    """Return the cartilages of femur and tibia scaled in each compartment so that they just touch."""
    gap, n = _gap(cKDTree(meshes[FEMUR].vertices), meshes[FEMUR], meshes[TIBIA].vertices)
    both = thickness[TIBIA] + thickness[FEMUR][n]
    out = [t.copy() for t in thickness]
    for side in (0, 1):
        bears = (thickness[TIBIA] > 0.1) & ((meshes[TIBIA].vertices[:, 0] < 0) == bool(side)) & (both > 0.4)
        scale = float(np.clip(np.percentile((gap[bears] + CONTACT_MM) / both[bears], 4), 0.3, 1.35))
        for bone in (FEMUR, TIBIA):
            x, _, z = meshes[bone].vertices.T
            weight = sigmoid((x if side == 0 else -x) / 2) * sigmoid((24 * a.size - z) / 4)
            out[bone] = out[bone] * (1 + (scale - 1) * weight)
    return out


def _compact(rng: np.random.Generator, a: Anatomy, bone: int, points: Points, articular: Values) -> Values:
    """Return the thickness of compact bone: the plate under cartilage, elsewhere a cortex as thin as paper
    at the metaphysis that thickens to 3-6 mm at the shaft.
    """
    uneven = np.exp(0.18 * random_waves(rng, 8.0, 40.0).at(points))
    cortex = a.cortex * _cortex(bone, points / a.size) * uneven
    plate = _plate(a, bone, points) * uneven
    out: Values = np.clip(plate * articular + cortex * (1 - articular), 0.15, 6.5)
    return out


def _plate(a: Anatomy, bone: int, points: Points) -> Values:
    x, y, _ = points.T
    if bone == PATELLA:
        return np.full(len(points), 0.6)
    if bone == FIBULA:
        return np.full(len(points), 0.4)
    medial, lateral = a.femoral_plate if bone == FEMUR else a.tibial_plate
    toward = sigmoid(-x / 4)
    center = np.exp(-(((np.abs(x) - a.centers_x[0]) / 16) ** 2) - (y / 20) ** 2)
    out: Values = (medial * (1 - toward) + lateral * toward) * (0.6 + 0.5 * center)
    return out


def _cortex(bone: int, points: Points) -> Values:
    """Return the cortex of a knee of the mean size: CT of 1 mm of one woman, and method notes C1."""
    x, y, z = points.T
    if bone == FEMUR:
        return 0.36 + 3.6 * _step((z - 38) / 55)
    if bone == TIBIA:
        return np.asarray(0.38 + 4.4 * _step((-z - 20) / 58) * (1 + 0.25 * np.tanh(x / 10)))
    if bone == FIBULA:
        return 0.42 + 1.9 * _step((-z - 28) / 35)
    return np.asarray(0.35 + 0.40 * sigmoid((y.mean() - y) / 2), np.float64)


def _step(t: Values) -> Values:
    """Return a smooth step from 0 to 1 for t from 0 to 1."""
    t = np.clip(t, 0, 1)
    out: Values = t * t * (3 - 2 * t)
    return out
