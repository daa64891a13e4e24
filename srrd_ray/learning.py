"""What is learnt over the whole cohort: synthesis, teacher and baseline, the search, the distilled student."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srrd_ray.acts import Acts
from srrd_ray.cluster.training import Programme, Training, fit
from srrd_ray.provenance import seed_from
from srrd_ray.records import Knee
from srrd_ray.stages import distil, gather, synthesize
from srrd_ray.work import Produced, Unit

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """The trainings of one run, over the knees that are left."""

    acts: Acts
    knees: Sequence[Knee]

    def synthesis(self, unit: Unit) -> Produced:
        """Train the CycleGAN on unaligned slices of every knee."""
        layout, config = self.acts.layout, self.acts.config
        mr, ct = ([layout.volume(knee, image) for knee in self.knees] for image in ("mr", "ct"))
        seed = seed_from(config.seed, "synthesis")
        weights = self._fit("synthesis", unit, partial(synthesize.training_learners, mr, ct, config.synthesis, seed))
        model = layout.model("synthesis")
        synthesize.save_model(weights, model, config.synthesis)
        return Produced(paths=(model,))

    def tables(self, _: Unit) -> Produced:
        """Gather the rows of all knees, and deal the patients out to folds."""
        layout, config = self.acts.layout, self.acts.config
        paths = [gather.gather_parts(layout, name, self.knees) for name in ("registration", "measures")]
        folds = gather.write_knees(
            layout, self.acts.cohort, self.knees, config.distillation.folds, seed_from(config.seed, "folds")
        )
        return Produced(paths=(*paths, folds))

    def teach(self, unit: Unit) -> Produced:
        """Train the teacher and the student without MR, one of each for every fold."""
        return self._regressors(unit, distil.programme_teacher_baseline, ("teacher", "baseline"))

    def distil(self, unit: Unit) -> Produced:
        """Train the student under the teacher's guidance, with the settings that the search chose for its fold."""
        return self._regressors(unit, distil.programme_distilled, ("distilled",))

    def _fit(self, name: str, unit: Unit, programme: Programme) -> Path:
        """Return the folder with the weights of a programme, trained under a name that stands for its inputs."""
        training = Training(
            name=f"{name}-{unit.key[:16]}", programme=programme, storage=self.acts.layout.root / ".training"
        )
        return fit(training, self.acts.config.cluster, lambda line: log.info("%-16s %s", name, line))
