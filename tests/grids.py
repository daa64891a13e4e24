"""Any grid that a scanner could give, for property tests: every shape, spacing, place and turn."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Geometry

shapes = st.tuples(*[st.integers(1, 7)] * 3)
steps = st.tuples(*[st.floats(0.05, 5.0)] * 3)
places = st.tuples(*[st.floats(-400, 400)] * 3)
quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


@st.composite
def affines(draw: st.DrawFn) -> NDArray[np.float64]:
    """Return an affine with orthogonal axes, turned in any way, left-handed ones too."""
    turn = Rotation.from_quat(draw(quaternions)).as_matrix() * draw(st.sampled_from([1, -1]))
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(draw(steps))
    affine[:3, 3] = draw(places)
    return affine


@st.composite
def geometries(draw: st.DrawFn, shape: st.SearchStrategy[tuple[int, int, int]] = shapes) -> Geometry:
    """Return a grid of some shape on such an affine."""
    return Geometry.from_affine(draw(shape), draw(affines()))
