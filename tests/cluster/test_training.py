"""Ray Train runs a sequence of learners in DDP, and an interruption changes nothing."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srrd_ray.cluster.training import fit
from srrd_ray.core.errors import StoreError, TrainingError
from srrd_ray.core.learner import Learner, Shard, batches
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training
from srrd_ray.storage.weights import load_tensors
from tests.object_store import ObjectStore

pytestmark = [pytest.mark.training, pytest.mark.slow]

X = torch.from_numpy(np.random.default_rng(0).standard_normal((24, 3)).astype(np.float32))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


class LineLearner:
    """Linear regression by Adam: small, and its answer is known."""

    def __init__(self, name: str, epochs: int, kill_once: Path | None = None, rank: int = 1) -> None:
        self.name, self.epochs, self.kill_once, self.rank = name, epochs, kill_once, rank
        torch.manual_seed(0)
        self.net = nn.Linear(3, 1)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.1)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"net": self.net}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"adam": self.optimizer}

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        total = 0.0
        for picked in batches(len(X), 8, seed=1, epoch=epoch, shard=shard):
            loss = nn.functional.mse_loss(wrapped["net"](X[picked]), Y[picked])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += float(loss.detach())
        if self.kill_once and epoch == 3 and shard.rank == self.rank and not self.kill_once.exists():
            self.kill_once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"loss": total}


def learners(epochs: int, kill_once: Path | None = None, rank: int = 1) -> Iterator[Learner]:
    yield LineLearner("first", 2)
    yield LineLearner("second", epochs, kill_once, rank)


def diverging() -> Iterator[Learner]:
    raise TrainingError("loss-not-finite", "the loss is not finite", where="toy")
    yield LineLearner("never", 1)


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_tensors(folder / "second.safetensors")[0]


def by_hand(epochs: int) -> Tensor:
    """The same training in a plain loop on one worker."""
    learner = LineLearner("second", epochs)
    for epoch in range(epochs):
        learner.train_epoch(epoch, Shard(), learner.modules())
    return learner.net.weight.detach()


@dataclass(frozen=True)
class Undisturbed:
    """A training to which nothing happened."""

    folder: Path
    lines: list[str]
    interrupt: object
    """What handles an interrupt after it."""

    def assert_equals(self, folder: Path) -> None:
        calm, other = weights_of(self.folder), weights_of(folder)
        assert all(torch.equal(calm[name], other[name]) for name in calm)


@pytest.fixture(scope="module")
def undisturbed(cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    lines: list[str] = []
    calm = Training(name="calm", learners=partial(learners, 6), storage=tmp_path_factory.mktemp("calm"))
    return Undisturbed(fit(calm, cluster, lines.append), lines, signal.getsignal(signal.SIGINT))


def test_two_workers_learn_what_one_learns_alone(undisturbed: Undisturbed) -> None:
    torch.testing.assert_close(weights_of(undisturbed.folder)["net.weight"], by_hand(6), rtol=1e-4, atol=1e-5)
    assert (undisturbed.folder / "first.safetensors").is_file()
    assert sum(line.startswith("second epoch") for line in undisturbed.lines) == 6


def test_a_training_leaves_the_handler_of_interrupts_as_it_was(undisturbed: Undisturbed) -> None:
    assert undisturbed.interrupt is signal.default_int_handler


def often(root: Path, rank: int = 1) -> Training:
    """A training with a checkpoint after every epoch, of which the worker of one rank kills itself once."""
    killing = partial(learners, 6, root / "killed", rank)
    return Training(name="hit", learners=killing, storage=root, checkpoint_seconds=0.0)


def test_a_killed_worker_changes_no_bit_of_the_result_even_if_it_writes_the_checkpoints(
    cluster: ClusterConfig, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = fit(often(tmp_path, rank=0), cluster, lambda _: None)
    assert (tmp_path / "killed").exists()
    assert any(tmp_path.glob("hit/*/state.safetensors")), "it went on from a checkpoint"
    undisturbed.assert_equals(folder)


def test_a_store_that_refuses_checkpoints_for_a_while_does_not_end_a_training(
    once: ClusterConfig, s3: ObjectStore, bucket: Path
) -> None:
    began: list[float] = []

    def refuse(method: str, path: str) -> HTTPStatus | None:
        if method == "GET" or "checkpoint_" not in path:
            return None
        began.append(time.monotonic())
        return HTTPStatus.SERVICE_UNAVAILABLE if began[-1] - began[0] < 4 else None

    training = Training(name="refused", learners=partial(learners, 2), storage=bucket, checkpoint_seconds=0.0)
    with s3.failing(refuse):
        folder = fit(training, once, lambda _: None)
    assert began[-1] - began[0] >= 4
    torch.testing.assert_close(weights_of(folder)["net.weight"], by_hand(2), rtol=1e-4, atol=1e-5)


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def interrupted(cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that lost a worker and was not tried again."""
    root = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(TrainingError, match="training-failed"):
        fit(often(root), replace(cluster, task_retries=0), lambda _: None)
    return root


@pytest.mark.parametrize(
    "damaged",
    [("*/state.safetensors", "weights/first.safetensors"), ("*snapshot*.json",)],
    ids=["checkpoint and weights", "list of checkpoints"],
)
def test_a_damaged_checkpoint_is_not_learnt_from_and_changes_no_bit_of_the_result(
    cluster: ClusterConfig,
    tmp_path: Path,
    undisturbed: Undisturbed,
    interrupted: Path,
    damaged: tuple[str, ...],
) -> None:
    root = tmp_path / "here"
    shutil.copytree(interrupted, root)
    for pattern in damaged:
        files = list(root.glob(f"hit/{pattern}"))
        assert files
        for path in files:
            flip(path)
    undisturbed.assert_equals(fit(often(root), cluster, lambda _: None))


@pytest.fixture
def once(cluster: ClusterConfig) -> ClusterConfig:
    """One worker and one try: enough to see what becomes of an error."""
    return replace(cluster, task_retries=0, training_workers=1)


def on_a_full_disk() -> Iterator[Learner]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.safetensors")
    yield LineLearner("never", 1)


def test_44_a_training_whose_disk_is_full_ends_as_an_error_of_storage(
    once: ClusterConfig, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"output-full.*Free space and run the same command again"):
        fit(Training(name="full", learners=on_a_full_disk, storage=tmp_path), once, lambda _: None)


def test_a_learner_that_diverges_ends_the_training_with_its_reason(
    once: ClusterConfig, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="loss-not-finite"):
        fit(Training(name="bad", learners=diverging, storage=tmp_path), once, lambda _: None)
