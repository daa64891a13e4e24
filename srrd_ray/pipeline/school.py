"""The school: simulated knees that are made, cut into cubes and learnt from; the same command again goes on.

Its product is a folder: a reader of MR (``mr``), a reader of CT (``ct``), and ``school.json``, which says
what they saw and how well they read knees that they never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from srrd_ray.core.hashing import hash_json
from srrd_ray.core.learner import Learner
from srrd_ray.core.serial import to_json
from srrd_ray.distillation.config import SchoolConfig
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import Executor
from srrd_ray.execution.listeners import ProgressLog
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.training import Training
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.pipeline.made_knees import make_knees
from srrd_ray.pipeline.own_trainings import Fit, fit_on
from srrd_ray.simulation.frozen import school_sha256
from srrd_ray.simulation.school import SchoolKnee, sample_school_knee
from srrd_ray.storage.layout import RunLayout

NAME = "school"
WriteCubes = Callable[[Path, SchoolKnee], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class SchoolRequest:
    """Let readers of MR and CT learn on simulated knees.

    Parameters
    ----------
    out
        Folder of the result.
    work
        Folder that every node sees: cubes (2 MB a knee) and checkpoints; kept, so that the work can go on.
    checkpoint_seconds
        A checkpoint is written at the end of an epoch where the last one is so old.
    """

    out: Path
    work: Path
    checkpoint_seconds: float = 120.0
    school: SchoolConfig = field(default_factory=SchoolConfig)
    cluster: ClusterConfig = field(default_factory=lambda: ClusterConfig(training_workers=1))

    @property
    def numbers(self) -> range:
        """The numbers of all knees; those that judge come first, so that more knees can be added."""
        return range(self.school.held_out + self.school.knees)

    def training_name(self, there: Sequence[int]) -> str:
        """Return the name of the training: it holds the hash of all that the weights depend on."""
        depends = [to_json(self.school), list(there), school_sha256(), self.cluster.training_workers]
        return f"readers-{hash_json(depends)[:16]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CubeFiles:
    """Where the cubes of the knees of one seed lie."""

    root: Path
    seed: int

    def path(self, number: int) -> Path:
        """Return the shard of a knee."""
        return self.root / "cubes" / f"seed-{self.seed}" / f"knee-{number:06d}.zarr"


@dataclass(frozen=True, kw_only=True, slots=True)
class _MakeCubes:
    """Makes the cubes of the knee that a work item names."""

    files: CubeFiles
    write: WriteCubes

    def __call__(self, item: WorkItem) -> Produced:
        number = int(item.name)
        path = self.files.path(number)
        self.write(path, sample_school_knee(number, self.files.seed))
        return Produced(paths=(path, path.with_suffix(".parquet")))


def write_cubes(path: Path, knee: SchoolKnee) -> int:
    """Return how many cubes of a knee were simulated and written."""
    from srrd_ray.stages.shared.school_cubes import write_school_cubes  # torch takes seconds to import

    return write_school_cubes(path, knee)


def hold_school(
    request: SchoolRequest, executor: Executor, fit: Fit, write: WriteCubes = write_cubes
) -> Path:
    """Return the folder of the readers; `executor` makes the cubes by `write`, `fit` trains.

    Raises
    ------
    ClusterError
        `school-small` where more than a tenth of the knees could not be made.
    """
    from srrd_ray.stages.shared.school_model import save_school  # torch takes seconds to import

    root = request.work.resolve()
    files = CubeFiles(root=root, seed=request.school.seed)
    with locked(root), Runner(executor=executor, listeners=(ProgressLog(),)) as runner:
        task = Task(
            stage=NAME, layout=RunLayout(root=root), function=_MakeCubes(files=files, write=write),
            shared_storage_probe=root / LOCK,
        )  # fmt: skip
        there = make_knees(runner, task, request.numbers, [files.seed, school_sha256()])
    taught = [files.path(number) for number in there if number >= request.school.held_out]
    judging = [files.path(number) for number in there if number < request.school.held_out]
    training = Training(
        name=request.training_name(there),
        learners=partial(_learners, request.school, taught),
        storage=root / "trainings",
        checkpoint_seconds=request.checkpoint_seconds,
    )
    weights = fit_on(executor.connect, fit, training, root)
    return save_school(request.out, request.school, weights, (taught, judging))


def _learners(config: SchoolConfig, shards: Sequence[Path]) -> Iterator[Learner]:
    from srrd_ray.distillation.step import StudentLearner, TeacherLearner
    from srrd_ray.stages.shared.school_cubes import read_all_cubes
    from srrd_ray.stages.shared.school_model import READERS

    data = read_all_cubes(shards)
    yield TeacherLearner(READERS["mr"], data, config.readers, config.seed)
    yield StudentLearner(READERS["ct"], data, config.readers, config.seed)
