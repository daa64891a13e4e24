"""Bones drawn from the shape and pose model of 26 adults, as closed meshes in the frame of `anatomy`.

The model (`data/llp26_knee.npz`, MPL-2.0, `data/LICENSE_MPL2`) is that of GIAS3 (`musculoskeletal-models`):
welded, closed, mirrored to a right knee, turned into our frame and with its bones laid at rest in contact.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial.transform import Rotation

from srrd_ray.simulation.meshes import Faces, Mesh, Points, subdivision

NAMES = ("femur", "tibia", "fibula", "patella")
MODES = 25
"""Modes of the model: 26 people have 25."""
MODE_LIMIT = 2.0
"""SD beyond which no mode goes: 26 people say nothing about farther ones."""
COVERED_STEP, THICKNESS_STEP_MM = 1 / 200, 0.02
"""Units of the stored cover and thickness of cartilage."""


class Template(NamedTuple):
    """One bone of the model: mean (n, 3), modes (n, 3, modes) in mm a SD, and the matrix (fine, n) and
    faces of its smooth surface; on that, how thick cartilage is where there is any (mm), and how often
    there is (0-1).
    """

    mean: Points
    modes: NDArray[np.float64]
    refine: sparse.csr_matrix
    faces: Faces
    cartilage: NDArray[np.float64]
    covered: NDArray[np.float64]


@lru_cache(maxsize=1)
def templates() -> tuple[Template, ...]:
    """Return the bones of the model in the order of `NAMES`."""
    model, tissues = read_data("llp26_knee.npz"), read_data("knee_tissues.npz")
    return tuple(_template(name, model, tissues) for name in NAMES)


def read_data(name: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a data file of the package."""
    with as_file(files("srrd_ray.simulation") / "data" / name) as path, np.load(path) as stored:
        return {key: stored[key] for key in stored}


def _template(
    name: str, model: dict[str, NDArray[np.generic]], tissues: dict[str, NDArray[np.generic]]
) -> Template:
    mean = model[f"{name}_mean"].astype(np.float64)
    once, faces = subdivision(len(mean), model[f"{name}_faces"].astype(np.int32))
    twice, faces = subdivision(once.shape[0], faces)
    none = np.zeros(once.shape[0])
    stored = (tissues.get(f"{name}_{what}", none) for what in ("cartilage_mm", "covered"))
    thickness, covered = (np.asarray(twice @ values.astype(np.float64)) for values in stored)
    return Template(
        mean=mean,
        modes=model[f"{name}_modes"].astype(np.float64) * float(model["mode_step_mm"]),
        refine=_interpolating(twice @ once, len(mean)),
        faces=faces,
        cartilage=thickness * THICKNESS_STEP_MM,
        covered=covered * COVERED_STEP,
    )


def _interpolating(refine: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Return `refine` after moving the control points so that the smooth surface comes to the given vertices:
    subdivision alone would shrink a patella by 0.3 mm. Three steps of a fixed point leave less than 0.2 mm.
    """
    inner = sparse.eye(count, format="csr") - refine[:count]
    correction = sparse.eye(count, format="csr") + inner + inner @ inner
    return sparse.csr_matrix(refine @ correction)


def draw_scores(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the scores of an individual, SDs of each mode."""
    scores: NDArray[np.float64] = np.clip(rng.standard_normal(MODES), -MODE_LIMIT, MODE_LIMIT)
    return scores


def shape_bones(scores: NDArray[np.float64]) -> list[Points]:
    """Return the vertices of each bone for `scores`: the model's shapes, laid where the mean bones lie.

    The fibula goes with the tibia; how the model's people lay in the scanner is left out.
    """
    shaped = [t.mean + np.einsum("ncm,m->nc", t.modes, scores) for t in templates()]
    femur, tibia, _, patella = (align(v, t.mean) for v, t in zip(shaped, templates(), strict=True))
    turn, shift = rigid(shaped[1], templates()[1].mean)
    return [femur, tibia, np.einsum("nc,dc->nd", shaped[2], turn) + shift, patella]


def rigid(moving: Points, fixed: Points) -> tuple[NDArray[np.float64], Points]:
    """Return rotation (3, 3) and shift that lay the points `moving` on `fixed` best (Kabsch 1976)."""
    turn, _ = Rotation.align_vectors(fixed - fixed.mean(axis=0), moving - moving.mean(axis=0))
    matrix = turn.as_matrix()
    return matrix, fixed.mean(axis=0) - matrix @ moving.mean(axis=0)


def align(moving: Points, fixed: Points) -> Points:
    """Return `moving` laid on `fixed` by a rigid motion."""
    matrix, shift = rigid(moving, fixed)
    return np.asarray(np.einsum("nc,dc->nd", moving, matrix) + shift, np.float64)


def smooth_mesh(bone: int, vertices: Points) -> Mesh:
    """Return the smooth surface of a bone through its model `vertices`."""
    template = templates()[bone]
    return Mesh(np.asarray(template.refine @ vertices, np.float64), template.faces)
