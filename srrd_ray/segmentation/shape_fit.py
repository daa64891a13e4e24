"""The shape that people have, laid on a bone that was found: a shape model of 26 adults, fitted robustly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import FEMUR, TIBIA
from srrd_ray.simulation.meshes import Mesh, Points
from srrd_ray.simulation.shape_model import MODES, templates

Values = NDArray[np.float64]
SIDES: Final[tuple[Side, ...]] = ("R", "L")
"""The model is that of right knees."""
UP: Final = {FEMUR: 1.0, TIBIA: -1.0}
"""Bones that are fitted, and where along z their shaft runs."""
STEP_MM: Final = 2.0
SOFT_MM: Final = 2.0
POINTS: Final = 1500
REACHES_MM: Final = np.geomspace(8.0, 1.5, 18)
"""Of a surface point, in each step: those farther than this from the shape hardly count."""
RIGID_STEPS: Final = 5
JOINT_END_MM: Final = 25.0
END_MM: Final = 4.0
"""Before the end of the model's shaft: beyond it nothing is known."""
FACING: Final = 0.4
"""Least cosine between the normals of a point and of where it belongs."""
INDEPENDENT: Final = 300.0
"""Points that say as much as all do: neighbours err alike."""
SCALE_SD, TURN_SD, SCORE_LIMIT = 0.05, np.radians(40), 3.0
FAR_MM: Final = 3.0
"""From here on the distance to the nearest vertex counts, nearer the one along its normal."""
MISFIT_MM: Final = 6.0


class Model(NamedTuple):
    """A bone of the shape model: smooth mean (n, 3) and modes (n, 3, modes) in mm a SD, faces, normals of the
    mean; the first `coarse` vertices lie evenly on all of it; `up` is where the shaft runs along z.
    """

    mean: Points
    modes: NDArray[np.float64]
    faces: NDArray[np.int32]
    normals: Points
    coarse: int
    up: float


class _Pose(NamedTuple):
    """``lps = scale * turn @ model + shift`` of the shape with `scores`."""

    turn: Points
    shift: Values
    scale: float
    scores: Values

    def of_model(self, points: Points) -> Points:
        return np.asarray((points - self.shift) @ self.turn / self.scale, np.float64)

    def to_lps(self, points: Points) -> Points:
        return np.asarray(self.scale * points @ self.turn.T + self.shift, np.float64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedShape:
    """A shape that people have: its surface (vertices and outward normals, LPS mm), where it ends, and its
    scores, SDs of each mode.
    """

    scores: Values
    vertices: Points
    normals: Points
    tree: cKDTree
    along: Values
    end_mm: float

    def outside_mm(self, points: Points) -> Values:
        """Return how far points (n, 3) lie outside, mm, negative inside; NaN beyond the end of the shaft."""
        away, nearest = self.tree.query(points)
        out = ((points - self.vertices[nearest]) * self.normals[nearest]).sum(axis=1)
        out = np.where(away > FAR_MM, np.copysign(away, out), out)
        return np.where(points @ self.along > self.end_mm, np.nan, out)

    def misfit_mm(self, points: Points) -> float:
        """Return the mean distance of points of a surface from this one, each at most 6 mm."""
        away = np.abs(self.outside_mm(points))
        known = np.isfinite(away)
        return float(np.minimum(away[known], MISFIT_MM).mean()) if known.any() else MISFIT_MM


@lru_cache(maxsize=len(UP))
def shape_model(number: int) -> Model:
    """Return the model of a bone (`CLASSES`)."""
    template = templates()[number - FEMUR]
    return make_model(template.mean, template.modes, number)


def make_model(mean: Points, modes: NDArray[np.float64], number: int) -> Model:
    """Return the model of a bone of the mean (n, 3) and the modes (n, 3, modes) of its control points."""
    template = templates()[number - FEMUR]
    smooth = Mesh(np.asarray(template.refine @ mean), template.faces)
    return Model(
        mean=smooth.vertices,
        modes=np.stack([template.refine @ modes[:, axis] for axis in range(3)], axis=1),
        faces=template.faces,
        normals=smooth.normals(),
        coarse=4 * len(mean) - 6,
        up=UP[number],
    )


def surface_of(bone: Volume[np.bool_]) -> tuple[Points, Points]:
    """Return points of a bone's surface, LPS mm, and its outward normals; what the image cuts is none."""
    skips = [max(round(STEP_MM / step), 1) for step in bone.geometry.spacing_mm]
    few = bone.array[:: skips[0], :: skips[1], :: skips[2]]
    steps = np.array(bone.geometry.spacing_mm) * skips
    soft = ndimage.gaussian_filter(few.astype(np.float32), SOFT_MM / steps, mode="nearest")
    where = np.argwhere(few & ~ndimage.binary_erosion(few, border_value=1))
    where = where[:: max(len(where) // POINTS, 1)]
    slopes = [slope / step for slope, step in zip(np.gradient(soft), steps, strict=True)]
    outward = -np.stack([slope[tuple(where.T)] for slope in slopes], axis=-1).astype(np.float64)
    steep = np.maximum(np.linalg.norm(outward, axis=1), 1e-6)
    axes = bone.geometry.affine[:3, :3] / np.linalg.norm(bone.geometry.affine[:3, :3], axis=0)
    normals = (outward / steep[:, None])[:, ::-1] @ axes.T
    beyond = np.clip((soft[tuple(where.T)] - 0.5) / steep, -STEP_MM, STEP_MM)
    return bone.geometry.index_to_lps(where * skips) + beyond[:, None] * normals, normals


def fit_shape(points: Points, normals: Points, model: Model, side: Side | None = None) -> FittedShape:
    """Return the shape of a left or a right bone, where it is not known whichever fits better, laid on a
    surface (LPS mm).

    Iteratively reweighted least squares of the distances along the shape's normals to the nearest vertices,
    as Chen and Medioni (1992), with a prior on shape and size; Geman and McClure's weights leave out what no
    shape reaches.
    """
    mirrors = [
        np.array([1.0 if one == "R" else -1.0, 1.0, 1.0]) for one in (SIDES if side is None else (side,))
    ]
    fits = [_fitted(points * mirror, normals * mirror, model, mirror) for mirror in mirrors]
    return min(fits, key=lambda fit: fit.misfit_mm(points))


def _fitted(points: Points, normals: Points, model: Model, side: Values) -> FittedShape:
    pose = _start(points, model)
    for step, reach in enumerate(REACHES_MM):
        pose = _improved(pose, points, normals, model, float(reach), shaped=step >= RIGID_STEPS)
    mesh = Mesh(model.mean + model.modes @ pose.scores, model.faces)
    vertices, along = pose.to_lps(mesh.vertices) * side, model.up * pose.turn[:, 2] * side
    return FittedShape(
        scores=pose.scores,
        vertices=vertices,
        normals=mesh.normals() @ pose.turn.T * side,
        tree=cKDTree(vertices),
        along=along,
        end_mm=float((vertices @ along).max()) - END_MM,
    )


def _start(points: Points, model: Model) -> _Pose:
    """Return the mean shape, turned as LPS is, the joint ends laid on one another."""
    ends = []
    for cloud in (points, model.mean):
        heights = model.up * cloud[:, 2]
        low = np.percentile(heights, 1)
        ends.append([*np.median(cloud[heights < low + JOINT_END_MM, :2], axis=0), model.up * low])
    return _Pose(np.eye(3), np.array(ends[0]) - np.array(ends[1]), 1.0, np.zeros(MODES))


def _improved(
    pose: _Pose, points: Points, normals: Points, model: Model, reach: float, *, shaped: bool
) -> _Pose:
    """Return the pose (and, where `shaped`, the scores) after one step."""
    here, facing = pose.of_model(points), normals @ pose.turn
    shape = model.mean[: model.coarse] + model.modes[: model.coarse] @ pose.scores
    distance, nearest = cKDTree(shape).query(here)
    outward = model.normals[nearest]
    away = ((here - shape[nearest]) * outward).sum(axis=1)
    weight = 1 / (1 + (np.maximum(np.abs(away), distance / 2) / reach) ** 2) ** 2
    known = model.up * here[:, 2] < (model.up * model.mean[:, 2]).max() - END_MM
    weight = np.where(known & ((facing * outward).sum(axis=1) > FACING), weight, 0.0)
    columns = [np.cross(here, outward), outward, (here * outward).sum(axis=1, keepdims=True)]
    if shaped:
        columns.append(-np.einsum("pcm,pc->pm", model.modes[nearest], outward))
    change = _solve(np.concatenate(columns, axis=1), away, weight, pose, reach)
    turn = pose.turn @ Rotation.from_rotvec(change[:3]).as_matrix().T
    scale = pose.scale / float(np.exp(change[6]))
    scores = np.clip(pose.scores + change[7:], -SCORE_LIMIT, SCORE_LIMIT) if shaped else pose.scores
    return _Pose(turn, pose.shift - scale * turn @ change[3:6], scale, scores)


def _solve(columns: Points, away: Values, weight: Values, pose: _Pose, reach: float) -> Values:
    """Return the change of turn, shift, log scale and scores that takes the distances away."""
    trust = INDEPENDENT / max(float(weight.sum()), 1.0) / max(reach, 2.0) ** 2
    weighted = (columns * weight[:, None]).T * trust
    prior = np.ones(columns.shape[1])
    prior[:7] = [*(1 / TURN_SD**2,) * 3, *(1e-4,) * 3, 1 / SCALE_SD**2]
    pull = -weighted @ away
    pull[6] += prior[6] * np.log(pose.scale)
    pull[7:] -= pose.scores[: len(pull) - 7]
    return np.asarray(np.linalg.solve(weighted @ columns + np.diag(prior), pull), np.float64)
