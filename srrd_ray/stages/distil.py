"""Stage ``distil``: the CT student under the guidance of the MR teacher, one for every fold."""

from __future__ import annotations

from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.learning import DISTILLATION_KEYS, DistillationSettings, plan_of, train_models


def distil(work: Work[DistillationSettings]) -> Produced:
    """Train the student under the teacher's guidance, with the settings that the search chose."""
    from srrd_ray.stages.shared.fold_training import distilled_learners  # torch takes seconds to import

    return train_models(
        work, STAGE.name, plan_of(work, with_winners=True), distilled_learners, ("distilled",)
    )


STAGE = Stage(
    name="distil",
    scope="cohort",
    function=distil,
    settings=DistillationSettings,
    keys=DISTILLATION_KEYS,
    needs=("patches", "tables", "teach", "tune"),
    outside=("school",),
    outputs=("models/distilled", "models/losses-distil.json", "tensorboard/distil"),
    trains=True,
)
