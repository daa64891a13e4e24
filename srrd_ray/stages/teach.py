"""Stage ``teach``: the MR teacher, and the CT student without MR, one of each for every fold.

The school's reader of MR is the teacher where its values are the labels; its reader of CT goes beside it, to
be compared with.
"""

from __future__ import annotations

from srrd_ray.core.records import RunModel
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.learning import DISTILLATION_KEYS, DistillationSettings, plan_of, train_models


def teach(work: Work[DistillationSettings]) -> Produced:
    """Train the teacher and the student without MR, one of each for every fold."""
    # torch takes seconds to import
    from srrd_ray.stages.shared.fold_training import teacher_and_baseline_learners, write_label_table

    plan = plan_of(work)
    models: tuple[RunModel, ...] = ("teacher", "baseline")
    if work.settings.distillation.labels == "measured":
        return train_models(work, STAGE.name, plan, teacher_and_baseline_learners, models)
    labels = write_label_table(plan)
    trained = train_models(work, STAGE.name, plan, teacher_and_baseline_learners, (*models, "school"))
    return Produced(paths=(labels, *trained.paths))


STAGE = Stage(
    name="teach",
    scope="cohort",
    function=teach,
    settings=DistillationSettings,
    keys=DISTILLATION_KEYS,
    needs=("patches", "tables"),
    outside=("school",),
    outputs=(
        "models/teacher",
        "models/baseline",
        "models/school",
        "tables/labels",
        "models/losses-teach.json",
        "tensorboard/teach",
    ),
    trains=True,
)
