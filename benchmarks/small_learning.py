"""The trainings of `small_acts`: each leaves a file; the tables are gathered by the package."""

from __future__ import annotations

from srrd_ray.core import serial
from srrd_ray.core.records import StageName
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.pipeline.learning import Learning, Winners
from srrd_ray.pipeline.run import Pipeline
from srrd_ray.storage.atomic import write_text


class SmallLearning(Learning):
    """The trainings leave a file; the tables are gathered by the package."""

    def synthesis(self, _: WorkItem) -> Produced:
        """Write a model."""
        return self._small("synthesis")

    def teach(self, _: WorkItem) -> Produced:
        """Write two models."""
        return self._small("teacher", "baseline")

    def tune(self, _: WorkItem) -> Produced:
        """Write the winners."""
        write_text(self._winners, serial.to_json(Winners(folds={})))
        return Produced(paths=(self._winners,))

    def distil(self, _: WorkItem) -> Produced:
        """Write a model."""
        return self._small("distilled")

    def _small(self, *names: str) -> Produced:
        for name in names:
            write_text(self.acts.layout.model(name) / "small.txt", name)
        return Produced(paths=tuple(self.acts.layout.model(name) for name in names))


def learnt(pipeline: Pipeline, name: StageName, unit: WorkItem) -> Produced:
    """Learn as `Pipeline` does, but almost nothing."""
    return SmallLearning(acts=pipeline.acts, knees=tuple(pipeline.engine.knees)).step(name, unit)
