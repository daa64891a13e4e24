"""`fit`: a sequence of learners, trained in DDP by Ray Train, checkpointed,
and resumed exactly after any interruption.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import torch
from ray import train
from ray.exceptions import RayActorError
from ray.train.torch import TorchConfig, TorchTrainer, prepare_model
from torch import Tensor, nn

from srrd_ray.cluster.causes import own_error
from srrd_ray.cluster.session import attainable, decide_gpus, require_cpus
from srrd_ray.core.errors import ClusterError, StoreError, TrainingError
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training
from srrd_ray.storage.paths import append_text, to_address
from srrd_ray.storage.weights import (
    DAMAGED,
    load_into,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    part_of,
    save_tensors,
)

Progress = Callable[[str], None]
"""Receives one line for every epoch."""

COLLECTIVE_TIMEOUT_S = 600


def fit(training: Training, config: ClusterConfig, progress: Progress) -> Path:
    """Return the folder with the trained weights of every learner.

    Raises
    ------
    SrrdError
        As a worker raised it.
    TrainingError
        `training-failed` where it stopped for another reason that a new try would not mend.
    ClusterError
        `resources-missing`, `gpu-missing`; `training-lost` where the controller of the workers died.
    StoreError
        Also `output-full` where Ray could not write a checkpoint.
    """
    require_cpus(1, f"training {training.name}")
    with _LogFollower(training.log, progress), _interrupts_kept():
        try:
            torch_trainer(training, config).fit()
        except train.TrainingFailedError as error:
            raise own_error([error]) or TrainingError(
                "training-failed",
                f"training {training.name} stopped: {str(error).strip().splitlines()[-1][:300]}",
                todo="Run the same command again to go on from the last checkpoint.",
            ) from error
        except RayActorError as error:
            # Ray Train recovers from the loss of a worker, not of its controller.
            # A retry here could wait for ever: the resources reserved by the lost
            # controller are freed only when this driver ends.
            raise ClusterError(
                "training-lost",
                f"training {training.name} lost its controller",
                todo="Run the same command again to go on from the last checkpoint.",
            ) from error
    return training.weights


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Put the handler of SIGINT back after the block.

    Ray Train leaves its own, which swallows a Ctrl-C in a later stage, and keeps the controller of the
    training, a process of 300 MiB, alive.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not before:  # never so outside of the main thread
            signal.signal(signal.SIGINT, before)


def torch_trainer(training: Training, config: ClusterConfig) -> TorchTrainer:
    """Return the trainer of a training; one of the same name resumes where an earlier one was interrupted."""
    workers = config.training_workers
    cpus = max(attainable("CPU", workers), 1.0) / workers
    return TorchTrainer(
        _train,
        train_loop_config={"training": training},
        torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_S),
        scaling_config=train.ScalingConfig(
            num_workers=workers, use_gpu=decide_gpus(workers, config.gpu), resources_per_worker={"CPU": cpus}
        ),
        run_config=train.RunConfig(
            name=training.name,
            storage_path=to_address(training.storage),
            failure_config=train.FailureConfig(max_failures=config.task_retries),
            checkpoint_config=train.CheckpointConfig(num_to_keep=2),
        ),
    )


def _train(loop_config: Mapping[str, Training]) -> None:
    """Train the learners on one worker; every rank goes through the same learners and epochs."""
    training = loop_config["training"]
    context = train.get_context()
    shard = Shard(rank=context.get_world_rank(), world=context.get_world_size())
    saver = _Saver(training, shard)
    resumed = _resume_point()
    for learner in training.learners():
        wrapped = {name: prepare_model(module) for name, module in learner.modules().items()}
        if saver.restore_finished(learner):
            continue
        first = _restore(learner, resumed) if resumed and resumed.learner == learner.name else 0
        for epoch in range(first, learner.epochs):
            losses = learner.train_epoch(epoch, shard, wrapped)
            saver.report(learner, epoch, losses)
        saver.finish(learner)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Resume:
    learner: str
    epoch: int
    tensors: Mapping[str, Tensor]


def _resume_point() -> _Resume | None:
    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        loaded = _load_intact(Path(folder) / "state.safetensors")
    if loaded is None:
        return None
    tensors, notes = loaded
    return _Resume(learner=notes["learner"], epoch=int(notes["epoch"]), tensors=tensors)


def _load_intact(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Return the tensors and notes of a file; null where it is damaged:
    its learner starts again, to the same weights.
    """
    try:
        return load_tensors(path)
    except StoreError as error:
        if error.code not in DAMAGED:
            raise
        return None


def _restore(learner: Learner, resumed: _Resume) -> int:
    """Return the first epoch still to do, after putting networks and optimizers back."""
    for name, module in learner.modules().items():
        load_into(module, part_of(resumed.tensors, f"module.{name}"), f"checkpoint of {learner.name}")
    for name, optimizer in learner.optimizers().items():
        load_optimizer(optimizer, part_of(resumed.tensors, f"optimizer.{name}"))
    return resumed.epoch + 1


def _state(learner: Learner) -> dict[str, Tensor]:
    tensors = {f"module.{name}": value for name, value in module_tensors(learner.modules()).items()}
    for name, optimizer in learner.optimizers().items():
        tensors |= {f"optimizer.{name}.{slot}": value for slot, value in optimizer_tensors(optimizer).items()}
    return tensors


def module_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the weights of several networks as one flat mapping, ``<network>.<parameter>``."""
    return {f"{n}.{k}": v for n, m in modules.items() for k, v in m.state_dict().items()}


class _Saver:
    """Reports and saves the progress of one worker; only rank 0 writes."""

    def __init__(self, training: Training, shard: Shard) -> None:
        self.training, self.leads = training, shard.rank == 0
        self.saved_at = time.monotonic()

    def restore_finished(self, learner: Learner) -> bool:
        """Return whether the learner was finished earlier; its weights are then loaded."""
        path = self.training.weights / f"{learner.name}.safetensors"
        if not path.is_file():
            return False
        loaded = _load_intact(path)
        if loaded is None:
            return False
        for name, module in learner.modules().items():
            load_into(module, part_of(loaded[0], name), path.name)
        return True

    def report(self, learner: Learner, epoch: int, losses: dict[str, float]) -> None:
        """Report an epoch on every rank; rank 0 adds a checkpoint from
        time to time (any epoch resumes exactly).
        """
        numbers = {**losses, "epoch": float(epoch)}
        if not self.leads or time.monotonic() - self.saved_at < self.training.checkpoint_seconds:
            train.report(numbers)
        else:
            with tempfile.TemporaryDirectory() as folder:
                notes = {"learner": learner.name, "epoch": str(epoch)}
                save_tensors(Path(folder) / "state.safetensors", _state(learner), notes)
                train.report(numbers, checkpoint=train.Checkpoint.from_directory(folder))
            self.saved_at = time.monotonic()
        if self.leads:
            self._log({"learner": learner.name, "epoch": epoch + 1, "epochs": learner.epochs, **losses})

    def finish(self, learner: Learner) -> None:
        """Save the final weights; the others wait, so that all ranks agree on which learners are finished."""
        if self.leads:
            path = self.training.weights / f"{learner.name}.safetensors"
            save_tensors(path, module_tensors(learner.modules()), {"learner": learner.name})
        if torch.distributed.is_initialized():
            torch.distributed.barrier()

    def _log(self, line: Mapping[str, object]) -> None:
        append_text(self.training.log, json.dumps(line) + "\n")


class _LogFollower:
    """Passes every new line of a training's log to `progress` while the block runs."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self.position = path.stat().st_size if path.is_file() else 0
        self.stop = Event()
        self.thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self._pass_on()

    def _watch(self) -> None:
        while not self.stop.wait(1.0):
            self._pass_on()

    def _pass_on(self) -> None:
        with suppress(FileNotFoundError, StoreError), self.path.open(encoding="utf-8") as file:
            file.seek(self.position)
            for line in iter(file.readline, ""):
                if line.endswith("\n"):
                    self.position = file.tell()
                    self.progress(_format_epoch(json.loads(line)))


def _format_epoch(line: dict[str, object]) -> str:
    losses = ", ".join(f"{k} {v:.4g}" for k, v in line.items() if isinstance(v, float))
    return f"{line['learner']} epoch {line['epoch']}/{line['epochs']}: {losses}"
