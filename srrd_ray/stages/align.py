"""Stage ``align``: the poses of a knee by the synthetic CT of round one, and its slices for round two.

A knee that cannot be aligned has not failed: the stages that follow try again, and say so. What is accepted
here is final; bones that are lost here have another chance in round two.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.register import Scan, find_poses, read_hu, write_ct_bones
from srrd_ray.stages.shared.first_round import first_bones_path, pair_path, write_first_poses
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import remove_tree
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignSettings:
    """How round one is read, how bones are aligned, and whether there is a round two."""

    synthesis: CycleGanConfig
    synthesis_aligned: AlignedConfig
    registration: RegistrationConfig


def align(work: Work[AlignSettings]) -> Produced:
    """Align the bones of a knee for round two; nothing is written where there is none."""
    layout, knee, settings = work.layout, work.item.knees[0], work.settings
    remove_tree(layout.first(knee))  # of other settings
    if settings.synthesis_aligned.epochs == 0:
        return Produced(paths=())
    try:
        return Produced(paths=tuple(_align(layout, knee, settings)))
    except InputError as error:
        log.info("%-16s %s: no slices for round two (%s)", STAGE.name, knee.key, error.code)
        remove_tree(layout.first(knee))
        return Produced(paths=())


def _align(layout: RunLayout, knee: Knee, settings: AlignSettings) -> Iterator[Path]:
    """Yield what was written: poses, bones of the CT, and slices where a bone was accepted."""
    from srrd_ray.stages.shared.aligned_model import write_pair  # torch takes seconds to import
    from srrd_ray.stages.shared.synthesis_model import load_model
    from srrd_ray.synthesis.inference import synthesize
    from srrd_ray.synthesis.pairs import make_pair

    ct, mr = (read_hu(knee, layout, image) for image in ("ct", "mr"))
    generator, trained = load_model(layout.model("synthesis"))
    made = synthesize(generator, mr, trained, limits=settings.synthesis)
    sct = Volume(array=np.rint(made.array), geometry=made.geometry)  # as it is stored
    bones = write_ct_bones(knee, layout, settings.registration, first_bones_path(layout, knee))
    scan = Scan(ct=ct, mr=mr, sct=sct, ct_bones=bones)
    found, _ = find_poses(knee, scan, settings.registration, known={})
    yield from write_first_poses(layout, found)
    yield first_bones_path(layout, knee)
    poses = {one.bone: one.matrix for one in found if one.quality.accepted}
    if poses:
        yield write_pair(pair_path(layout, knee), make_pair(mr, ct, bones, poses, trained))


STAGE = Stage(
    name="align",
    scope="knee",
    function=align,
    settings=AlignSettings,
    needs=("ingest", "learn-synthesis"),
    outside=("segmenter",),
    outputs=("first",),
)
