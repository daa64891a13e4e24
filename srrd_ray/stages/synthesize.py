"""Stage ``synthesize``: the MR of one knee to synthetic CT."""

from __future__ import annotations

from dataclasses import dataclass

from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.synthesis.config import CycleGanConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesizeSettings:
    """The limits of plausibility; the network is built as its model says."""

    synthesis: CycleGanConfig


def synthesize(work: Work[SynthesizeSettings]) -> Produced:
    """Turn the MR of a knee into synthetic CT."""
    from srrd_ray.stages.shared.synthesis_model import synthesize_knee  # torch takes seconds to import

    model = work.layout.model("synthesis")
    stored = synthesize_knee(work.item.knees[0], work.layout, model, work.settings.synthesis)
    return Produced(paths=(stored.path,))


STAGE = Stage(
    name="synthesize",
    scope="knee",
    function=synthesize,
    settings=SynthesizeSettings,
    needs=("ingest", "learn-synthesis"),
    outputs=("volumes/sct",),
)
