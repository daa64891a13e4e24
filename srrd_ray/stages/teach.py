"""Stage ``teach``: the MR teacher, and the CT student without MR, one of each for every fold."""

from __future__ import annotations

from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.learning import DISTILLATION_KEYS, DistillationSettings, plan_of, train_models


def teach(work: Work[DistillationSettings]) -> Produced:
    """Train the teacher and the student without MR, one of each for every fold."""
    # torch takes seconds to import
    from srrd_ray.stages.shared.fold_training import teacher_and_baseline_learners

    return train_models(
        work, STAGE.name, plan_of(work), teacher_and_baseline_learners, ("teacher", "baseline")
    )


STAGE = Stage(
    name="teach",
    scope="cohort",
    function=teach,
    settings=DistillationSettings,
    keys=DISTILLATION_KEYS,
    needs=("patches", "tables"),
    outside=("school",),
    outputs=("models/teacher", "models/baseline"),
    trains=True,
)
