"""Losses as scalars of TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from srrd_ray.storage.atomic import replacing


def write_scalars(folder: Path, learners: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Write the losses of every learner below `folder`, in a folder of its own; their step is ``epoch``."""
    from tensorboardX import SummaryWriter  # a third of a second to import

    with replacing(folder) as temporary:
        temporary.mkdir()
        for learner, epochs in learners.items():
            with SummaryWriter(logdir=str(temporary / learner)) as writer:
                for losses in epochs:
                    step = int(losses["epoch"])
                    for name in losses.keys() - {"epoch"}:
                        writer.add_scalar(name, losses[name], step)
