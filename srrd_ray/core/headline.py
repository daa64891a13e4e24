"""What a run is judged by first: the truth where it is known, else what its student was to learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from srrd_ray.core.json_tree import Json, at

REFERENCES: Final[Mapping[str, str]] = {
    "regression_truth": "the truth",
    "regression_teacher": "the teacher's reading of MR",
    "regression": "MR",
}
"""What the values of models are compared with, by key of ``metrics.json``, in words."""


def judged_by(metrics: Json) -> str:
    """Return the key of `REFERENCES` that the headline of a run tells of.

    The truth is known of simulated knees. What is measured in MR is no judge of a student that learnt what
    the school's readers read there: the school stands beside it then.
    """
    if isinstance(at(metrics, "regression_truth_comparison", "delta_icc"), float):
        return "regression_truth"
    if at(metrics, "regression_teacher", "school") is not None:
        return "regression_teacher"
    return "regression"
