"""The training of the segmenter, from simulated knees to weights and card; the same command again goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from srrd_ray.core.hashing import hash_json
from srrd_ray.core.learner import Learner
from srrd_ray.core.serial import to_json
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training
from srrd_ray.knee_bones.segmenter_files import CARD, WEIGHTS
from srrd_ray.pipeline.own_trainings import Connect, Fit, fit_on
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.simulation.frozen import COHORT, constants_sha256
from srrd_ray.stages.shared.label_maps import LabelMapStore
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.record_files import read_record


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterTraining:
    """Train the segmenter on simulated knees.

    Parameters
    ----------
    out
        Folder of the result: weights and card.
    work
        Folder that every node sees: label maps and checkpoints; kept, so that a training can go on.
    start
        Folder of a trained segmenter of the same size to go on from; random weights where there is none.
    seed
        Of knees, weights and patches. Benchmarks use others.
    checkpoint_seconds
        A checkpoint is written at the end of an epoch where the last one is so old.
    """

    out: Path
    work: Path
    start: Path | None = None
    seed: int = 20262
    checkpoint_seconds: float = 120.0
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    cluster: ClusterConfig = field(default_factory=lambda: ClusterConfig(training_workers=1))

    @property
    def name(self) -> str:
        """Of the training: it holds the hash of all that the weights depend on."""
        depends = [to_json(self.segmenter), self.seed, constants_sha256(), self.cluster.training_workers]
        if self.start is not None:
            depends.append(hash_file(self.start / WEIGHTS))
        return f"segmenter-{hash_json(depends)[:16]}"


def train_segmenter(request: SegmenterTraining, connect: Connect, fit: Fit) -> Path:
    """Return the folder with weights and card; `connect` opens a cluster, `fit` trains on it."""
    from srrd_ray.knee_bones.segmenter_model import (  # torch takes seconds to import
        SegmenterCard,
        save_segmenter,
    )

    work = request.work.resolve()
    if request.start is not None:
        request = replace(request, start=request.start.resolve())
    training = Training(
        name=request.name,
        learners=partial(_learners, request, work),
        storage=work,
        checkpoint_seconds=request.checkpoint_seconds,
    )
    weights = fit_on(connect, fit, training, work)
    learnt_from = {
        "knees": f"{request.segmenter.knees} of {COHORT}, seed {request.seed}",
        "patches": str(request.segmenter.epochs * request.segmenter.steps * request.segmenter.batch),
    }
    if request.start is not None:
        before = read_record(SegmenterCard, request.start / CARD, "segmenter").learnt_from
        learnt_from |= {f"{what}, before": said for what, said in before.items()}
    return save_segmenter(weights / "segmenter.safetensors", request.out, request.segmenter, learnt_from)


def _learners(request: SegmenterTraining, work: Path) -> Iterator[Learner]:
    from srrd_ray.knee_bones.segmenter_model import load_segmenter  # torch takes seconds to import
    from srrd_ray.segmentation.step import SegmenterLearner

    config = request.segmenter
    maps = LabelMapStore(
        folder=work / "label-maps", knees=config.knees, seed=request.seed, voxel_mm=config.map_mm
    )
    start = load_segmenter(request.start)[0] if request.start is not None else None
    yield SegmenterLearner(maps, config, request.seed, start)
