"""The synthesis before any cohort: simulated knees in MR of any sequence and in CT, and what it learns there.

The same command again goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from srrd_ray.core.hashing import hash_json
from srrd_ray.core.learner import Learner
from srrd_ray.core.model_card import readme
from srrd_ray.core.serial import to_json
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import Executor
from srrd_ray.execution.listeners import ProgressLog
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.training import Training
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.pipeline.made_knees import make_knees
from srrd_ray.pipeline.own_trainings import Fit, fit_on
from srrd_ray.simulation.frozen import COHORT, paired_scans_sha256
from srrd_ray.stages.shared.synthesis_card import GENERATOR, facts_of, read_card
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig

NAME = "paired-scans"

WriteSlices = Callable[[Path, int, int, CycleGanConfig], tuple[Path, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisTraining:
    """Train the synthesis on simulated knees, in MR of every sequence.

    Parameters
    ----------
    out
        Folder of the result: weights and card.
    work
        Folder that every node sees: slices (some MB a knee) and checkpoints; kept, so that it can go on.
    knees
        Simulated knees that it learns from, each in several sequences.
    held_out
        Further knees that judge it.
    seed
        Of knees, weights and slices.
    checkpoint_seconds
        A checkpoint is written at the end of an epoch where the last one is so old.
    """

    out: Path
    work: Path
    knees: int = 60
    held_out: int = 8
    seed: int = 20263
    checkpoint_seconds: float = 120.0
    synthesis: CycleGanConfig = field(
        default_factory=lambda: CycleGanConfig(
            start="random", epochs=1, first_guess="none", floor_hu=-1000.0, downs=3, blocks=4, tile=(96, 96)
        )
    )
    aligned: AlignedConfig = field(
        default_factory=lambda: AlignedConfig(
            epochs=80, steps=100, blocks=8, slices=2, feature_weight=0.0, adversarial_weight=0.0, norm="none",
            learning_rate=1e-3, average=0.995, curve_jitter=0.2,
        )
    )  # fmt: skip
    cluster: ClusterConfig = field(default_factory=lambda: ClusterConfig(training_workers=1))

    @property
    def numbers(self) -> range:
        """The numbers of all knees; those that judge come first, so that more knees can be added."""
        return range(self.held_out + self.knees)

    def training_name(self, there: Sequence[int]) -> str:
        """Return the name of the training: it holds the hash of all that the weights depend on."""
        depends = [to_json(self.synthesis), to_json(self.aligned), list(there), self.held_out, self.seed]
        depends += [paired_scans_sha256(), self.cluster.training_workers]
        return f"synthesis-{hash_json(depends)[:16]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _MakeSlices:
    """Makes the slices of the knee that a work item names."""

    root: Path
    seed: int
    config: CycleGanConfig
    write: WriteSlices

    def folder(self, number: int) -> Path:
        """Return where the slices of a knee lie."""
        return self.root / "slices" / f"seed-{self.seed}" / f"knee-{number:06d}"

    def __call__(self, item: WorkItem) -> Produced:
        number = int(item.name)
        return Produced(paths=self.write(self.folder(number), number, self.seed, self.config))

    def files(self, numbers: Sequence[int]) -> tuple[Path, ...]:
        """Return the slices of some knees."""
        return tuple(path for number in numbers for path in sorted(self.folder(number).glob("*.safetensors")))


def write_slices(folder: Path, number: int, seed: int, config: CycleGanConfig) -> tuple[Path, ...]:
    """Return the files of a simulated knee, one a sequence."""
    from srrd_ray.stages.shared.paired_slices import write_paired_slices  # torch takes seconds to import

    return write_paired_slices(folder, number, seed, config)


def train_synthesis(
    request: SynthesisTraining, executor: Executor, fit: Fit, write: WriteSlices = write_slices
) -> Path:
    """Return the folder with weights and card; `executor` makes the slices by `write`, `fit` trains on them.

    Raises
    ------
    ClusterError
        `school-small` where more than a tenth of the knees could not be made.
    """
    from srrd_ray.simulation.mr import PROTOCOLS
    from srrd_ray.simulation.paired_scans import FIELD_MM, SEQUENCES
    from srrd_ray.stages.shared.aligned_model import generator_weights  # torch takes seconds to import
    from srrd_ray.stages.shared.paired_slices import contrasts_of, judge_slices
    from srrd_ray.stages.shared.synthesis_model import save_generators

    root = request.work.resolve()
    make = _MakeSlices(root=root, seed=request.seed, config=request.synthesis, write=write)
    with locked(root), Runner(executor=executor, listeners=(ProgressLog(),)) as runner:
        task = Task(stage=NAME, layout=RunLayout(root=root), function=make, shared_storage_probe=root / LOCK)
        grid = (request.synthesis.pixel_mm, request.synthesis.slice_mm)
        there = make_knees(runner, task, request.numbers, [request.seed, grid, paired_scans_sha256()])
    taught = make.files([number for number in there if number >= request.held_out])
    training = Training(
        name=request.training_name(there),
        learners=partial(_learners, request, taught),
        storage=root / "trainings",
        checkpoint_seconds=request.checkpoint_seconds,
    )
    weights = fit_on(executor.connect, fit, training, root)
    aligned = request.aligned
    learnt_from = {
        "knees": f"{len(there) - request.held_out} simulated, texture and scans wider than {COHORT}'s",
        "slices": str(aligned.epochs * aligned.steps * aligned.blocks * aligned.slices),
        "sequences": f"{SEQUENCES} of {', '.join(PROTOCOLS)} a knee",
        "fields of view": " x ".join(f"{low:g}-{high:g}" for low, high in FIELD_MM) + " mm (ML, AP, SI)",
        "seed": str(request.seed),
    }
    network = generator_weights(weights)
    judging = make.files([number for number in there if number < request.held_out])
    figures = judge_slices(network, request.synthesis, judging)
    folder = save_generators(
        {GENERATOR: network}, request.out, request.synthesis, (), learnt_from=learnt_from, figures=figures,
        seen=contrasts_of(taught, request.seed),
    )  # fmt: skip
    write_text(folder / "README.md", readme(facts_of(read_card(folder))))
    return folder


def _learners(request: SynthesisTraining, files: Sequence[Path]) -> Iterator[Learner]:
    from srrd_ray.stages.shared.paired_slices import paired_learners  # torch takes seconds to import

    yield from paired_learners(files, request.synthesis, request.aligned, segmenter="", seed=request.seed)
