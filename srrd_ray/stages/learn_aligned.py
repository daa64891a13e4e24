"""Stage ``learn-aligned``: round two of the synthesis, on slices that registration has aligned.

Whether it is used is decided by the patients that no network saw: their bodies have to be nearer to the CT
by it, and their bones no worse.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srrd_ray.core.hashing import seed_from
from srrd_ray.core.records import Knee
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.shared.first_round import CHOICE, SynthesisChoice, pair_path
from srrd_ray.stages.shared.learning import fit, log_subsample, losses_path, subsample
from srrd_ray.stages.shared.synthesis_card import GENERATOR, read_card
from srrd_ray.storage.paths import remove_tree
from srrd_ray.storage.record_files import write_record
from srrd_ray.synthesis.config import AlignedConfig

log = logging.getLogger(__name__)

JUDGES = 12
"""Knees held out that decide, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnAlignedSettings:
    """What the weights depend on, and how bones are found in what they make."""

    synthesis_aligned: AlignedConfig
    registration: RegistrationConfig
    seed: int
    training_workers: int


def learn_aligned(work: Work[LearnAlignedSettings]) -> Produced:
    """Train round two on the knees that were aligned, and decide whether it is used."""
    layout, aligned = work.layout, work.settings.synthesis_aligned
    folder = layout.model("synthesis-aligned")
    remove_tree(folder)  # of other settings
    held_out = read_card(layout.model("synthesis")).held_out
    knees = [knee for knee in work.cohort.remaining if pair_path(layout, knee).is_file()]
    judges = [knee for knee in knees if knee.participant in held_out][:JUDGES]
    known = [knee for knee in knees if knee.participant not in held_out]
    seed = seed_from(work.settings.seed, "synthesis-aligned")
    learnt = subsample(known, aligned.learn_from, seed)
    losses: tuple[Path, ...] = ()
    if aligned.epochs == 0:
        choice = SynthesisChoice(used=False, reason="round two is switched off")
    elif not learnt or not judges:
        lacking = "to learn from" if not learnt else "of a patient that was held out, to decide by"
        choice = SynthesisChoice(used=False, reason=f"no bone was aligned in a knee {lacking}")
    else:
        log_subsample("learn-aligned", len(learnt), len(known), "knees")
        choice = _train(work, learnt, judges, seed)
        losses = (losses_path(layout, STAGE.name),)
    log.info("%-16s round %s is used: %s", STAGE.name, "two" if choice.used else "one", choice.reason)
    write_record(folder / CHOICE, choice, "synthesis_choice")
    return Produced(paths=(folder, *losses))


def _train(
    work: Work[LearnAlignedSettings], learnt: Sequence[Knee], judges: Sequence[Knee], seed: int
) -> SynthesisChoice:
    """Return which round is used, after training round two and saving its weights."""
    from srrd_ray.stages.shared import aligned_model, judging  # torch takes seconds to import
    from srrd_ray.stages.shared.synthesis_model import save_generators
    from srrd_ray.synthesis.aligned import aligned_networks

    layout, settings = work.layout, work.settings
    first, folder = layout.model("synthesis"), layout.model("synthesis-aligned")
    card, bones = read_card(first), settings.registration.bones
    paths = [pair_path(layout, knee) for knee in learnt]
    learners = partial(
        aligned_model.aligned_learners, paths, first, card.config, settings.synthesis_aligned,
        segmenter=bones.segmenter, seed=seed,
    )  # fmt: skip
    with fit(work, STAGE.name, learners) as weights:
        networks = aligned_networks(card.config, settings.synthesis_aligned)
        kept = {GENERATOR: aligned_model.generator_weights(weights)}
        save_generators(kept, folder, networks, card.held_out)
    scores = [judging.judge(layout, judges, model, bones) for model in (first, folder)]
    return judging.choose(*scores, learnt_from=len(learnt), judged_by=len(judges))


STAGE = Stage(
    name="learn-aligned",
    scope="cohort",
    function=learn_aligned,
    settings=LearnAlignedSettings,
    keys={"training_workers": "cluster.training_workers"},
    needs=("ingest", "learn-synthesis", "align"),
    outside=("segmenter",),
    outputs=("models/synthesis-aligned", "models/losses-learn-aligned.json", "tensorboard/learn-aligned"),
    trains=True,
)
