"""Trainings that are no stage of a run: of readers, segmenter and synthesis, on simulated knees."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from srrd_ray.execution.training import Training
from srrd_ray.stages.shared.learning import read_losses
from srrd_ray.storage.scalars import write_scalars

log = logging.getLogger(__name__)

Connect: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Opens a cluster."""
Fit: TypeAlias = Callable[[Training, Callable[[str], None]], Path]
"""Trains on it, and returns the folder of the weights."""


def fit_on(connect: Connect, fit: Fit, training: Training, root: Path) -> Path:
    """Return the folder of the weights; the losses become scalars of TensorBoard under `root`."""
    with connect():
        weights = fit(training, lambda line: log.warning("%s", line))
    write_scalars(root / "tensorboard", read_losses(training.log).learners)
    return weights
