"""Stage ``learn-synthesis``: the CycleGAN from MR to CT, on unaligned slices of the cohort's knees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from srrd_ray.core.hashing import seed_from
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.held_out import held_out_patients
from srrd_ray.stages.shared.learning import fit, log_subsample, losses_path, subsample
from srrd_ray.stages.shared.synthesis_card import begun
from srrd_ray.storage.paths import remove_tree
from srrd_ray.synthesis.config import CycleGanConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnSynthesisSettings:
    """What the weights depend on: gradients are summed over workers, so their number belongs to it."""

    synthesis: CycleGanConfig
    seed: int
    training_workers: int


def learn_synthesis(work: Work[LearnSynthesisSettings]) -> Produced:
    """Train the CycleGAN on unaligned slices of the knees, of at most `learn_from` that the seed samples.

    The patients that are held out are in none of them. Without epochs the model is the school's, as it is.
    """
    from srrd_ray.stages.shared import synthesis_model  # torch takes seconds to import

    layout = work.layout
    config, start = begun(work.settings.synthesis)
    seed = seed_from(work.settings.seed, "synthesis")
    held_out = held_out_patients(work.cohort.remaining, config.held_out, seed)
    folder = layout.model("synthesis")
    school = None if start is None else start.parent
    if config.epochs == 0:
        remove_tree(folder)  # of other settings
        losses_path(layout, STAGE.name).unlink(missing_ok=True)
        synthesis_model.save_model(None, folder, config, held_out, school)
        return Produced(paths=(folder,))
    known = [knee for knee in work.cohort.remaining if knee.participant not in held_out]
    knees = subsample(known, config.learn_from, seed)
    log_subsample("learn-synthesis", len(knees), len(known), "knees")
    mr, ct = ([layout.volume(knee, image) for knee in knees] for image in ("mr", "ct"))
    with fit(
        work, STAGE.name, partial(synthesis_model.training_learners, mr, ct, config, seed, start)
    ) as weights:
        synthesis_model.save_model(weights, folder, config, held_out, school)
    return Produced(paths=(folder, losses_path(layout, STAGE.name)))


STAGE = Stage(
    name="learn-synthesis",
    scope="cohort",
    function=learn_synthesis,
    settings=LearnSynthesisSettings,
    keys={"training_workers": "cluster.training_workers"},
    needs=("ingest",),
    outside=("synthesis",),
    outputs=("models/synthesis", "models/losses-learn-synthesis.json", "tensorboard/learn-synthesis"),
    trains=True,
)
