"""The stages in their order.

A new stage is a file beside the others, a line here, and its settings in the configuration.
"""

from __future__ import annotations

from srrd_ray.core.errors import ConfigError
from srrd_ray.execution.stage import AnyStage
from srrd_ray.stages import (
    align,
    classify,
    compare_diagnosis,
    compare_synthesis,
    distil,
    evaluate,
    ingest,
    learn_aligned,
    learn_synthesis,
    measure,
    patches,
    predict,
    qc,
    register,
    report,
    shape,
    synthesize,
    tables,
    teach,
    tune,
)

STAGES: tuple[AnyStage, ...] = (
    ingest.STAGE,
    learn_synthesis.STAGE,
    align.STAGE,
    learn_aligned.STAGE,
    synthesize.STAGE,
    register.STAGE,
    compare_synthesis.STAGE,
    qc.STAGE,
    shape.STAGE,
    patches.STAGE,
    measure.STAGE,
    tables.STAGE,
    teach.STAGE,
    tune.STAGE,
    distil.STAGE,
    predict.STAGE,
    classify.STAGE,
    compare_diagnosis.STAGE,
    evaluate.STAGE,
    report.STAGE,
)


def stages_until(name: str, stages: tuple[AnyStage, ...] = STAGES) -> tuple[AnyStage, ...]:
    """Return the stages up to the one of that name.

    Raises
    ------
    ConfigError
        `stage-unknown`.
    """
    names = [stage.name for stage in stages]
    if name not in names:
        raise ConfigError(
            "stage-unknown", "no such stage", where="--until", got=name[:64], expected=", ".join(names)
        )
    return stages[: names.index(name) + 1]
