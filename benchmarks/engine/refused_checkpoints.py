"""ray#47939, ray#55350: one checkpoint that cannot be uploaded ends the training function, however well the
model learns.

``PYTHONPATH=. python benchmarks/engine/refused_checkpoints.py [SECONDS ...]`` trains a line for twelve
epochs with a checkpoint after each, on an S3 server on loopback which answers every PUT (or only those of
checkpoints) with 503 for so many seconds from the first checkpoint on. Prints how it ended, how many epochs
were learnt more than once, and whether the weights are those of an undisturbed training.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

import torch
from own_ray import own_ray
from torch import nn

from srrd_ray.cluster.training import fit
from srrd_ray.core.errors import SrrdError
from srrd_ray.core.learner import Learner, Shard, batches
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training
from srrd_ray.storage.weights import load_tensors
from tests.object_store import VARIABLES, ObjectStore, serving

EPOCHS = 12
X = torch.linspace(-1, 1, 72).reshape(24, 3)
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


class Line:
    """Linear regression, one epoch in half a second."""

    name, epochs = "line", EPOCHS

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Linear(3, 1)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=0.1)

    def modules(self) -> Mapping[str, nn.Module]:  # noqa: D102
        return {"net": self.net}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:  # noqa: D102
        return {"adam": self.adam}

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:  # noqa: D102
        time.sleep(0.5)
        for picked in batches(len(X), 8, seed=1, epoch=epoch, shard=shard):
            loss = nn.functional.mse_loss(wrapped["net"](X[picked]), Y[picked])
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
        return {"loss": float(loss.detach())}


def learners() -> Iterator[Learner]:
    yield Line()


def refusing(seconds: float, which: str) -> Callable[[str, str], HTTPStatus | None]:
    """Return a rule that answers 503 to what is put at keys with `which`, `seconds` long."""
    began: list[float] = []

    def rule(method: str, path: str) -> HTTPStatus | None:
        if method not in ("PUT", "POST"):
            return None
        if not began and "checkpoint_" in path:
            began.append(time.monotonic())
        refuse = bool(began) and which in path and time.monotonic() - began[0] < seconds
        return HTTPStatus.SERVICE_UNAVAILABLE if refuse else None

    return rule


def train(
    store: ObjectStore, rule: Callable[[str, str], HTTPStatus | None]
) -> tuple[str, dict[str, torch.Tensor]]:
    training = Training(
        name="line", learners=learners, storage=store.bucket() / "run", checkpoint_seconds=0.0
    )
    began, end, weights = time.monotonic(), "ended", {}
    with store.failing(rule):
        try:
            weights = load_tensors(fit(training, ClusterConfig(), lambda _: None) / "line.safetensors")[0]
        except SrrdError as error:
            end = str(error)[:110]
    lines = training.log.read_text().splitlines() if training.log.is_file() else []
    again = len(lines) - len({json.loads(line)["epoch"] for line in lines})
    return f"{time.monotonic() - began:4.0f} s, {again:2d} epochs again: {end}", weights


def main() -> None:
    os.environ |= VARIABLES
    with serving() as store, own_ray(3):
        said, calm = train(store, lambda *_: None)
        print("undisturbed".ljust(34), said, flush=True)
        for seconds in [float(word) for word in sys.argv[1:]] or [5.0, 30.0, 90.0]:
            for name, which in (("checkpoints", "checkpoint_"), ("every PUT", "")):
                said, weights = train(store, refusing(seconds, which))
                same = (
                    ""
                    if not weights
                    else ", same weights"
                    if all(torch.equal(calm[k], weights[k]) for k in calm)
                    else ", OTHER WEIGHTS"
                )
                print(f"{name} refused for {seconds:3.0f} s".ljust(34), said + same, flush=True)


if __name__ == "__main__":
    main()
