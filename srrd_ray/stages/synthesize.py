"""Stage ``synthesize``: the MR of one knee to synthetic CT."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.synthesis.config import CycleGanConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesizeSettings:
    """The limits of plausibility, and how bones are found; the network is built as its model says."""

    synthesis: CycleGanConfig
    registration: RegistrationConfig


def synthesize(work: Work[SynthesizeSettings]) -> Produced:
    """Turn the MR of a knee into synthetic CT, by the round that is used."""
    from srrd_ray.stages.shared.first_round import chosen_model
    from srrd_ray.stages.shared.invention_notes import note_inventions
    from srrd_ray.stages.shared.synthesis_model import synthesize_knee  # torch takes seconds to import

    layout, settings = work.layout, work.settings
    note = partial(
        note_inventions, first=layout.model("synthesis"), config=settings.synthesis,
        bones=settings.registration.bones,
    )  # fmt: skip
    stored = synthesize_knee(work.item.knees[0], layout, chosen_model(layout), settings.synthesis, note)
    return Produced(paths=(stored.path,))


STAGE = Stage(
    name="synthesize",
    scope="knee",
    function=synthesize,
    settings=SynthesizeSettings,
    needs=("ingest", "learn-synthesis", "learn-aligned"),
    outside=("segmenter",),
    outputs=("volumes/sct",),
)
