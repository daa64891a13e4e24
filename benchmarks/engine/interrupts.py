"""ray#53600: Ray Train handles SIGINT itself, so that Ctrl-C ends a training in order; its handler stays when
the training is over.

``PYTHONPATH=. python benchmarks/engine/interrupts.py`` trains a line, by Ray Train alone and as a run does,
and then sends SIGINT to itself, as Ctrl-C in a later stage does. Prints what came of it, and whether the
controller of the training was still alive before.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from head_memory import learners, seen
from own_ray import own_ray

from srrd_ray.cluster.training import fit, torch_trainer
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training

CONFIG = ClusterConfig(training_workers=1)


def interrupted_after(train: Callable[[], object]) -> str:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    train()
    time.sleep(3)
    alive = len(seen()["TrainController"])
    try:
        signal.raise_signal(signal.SIGINT)
        time.sleep(3)
        end = "went on"
    except KeyboardInterrupt:
        end = "KeyboardInterrupt"
    except SystemExit as error:
        end = f"SystemExit with code {error.code}"
    return f"{end}; {alive} controllers were alive"


def main() -> None:
    with own_ray(), tempfile.TemporaryDirectory() as folder:
        alone, ours = (
            Training(name=name, learners=learners, storage=Path(folder)) for name in ("alone", "ours")
        )
        print("Ray Train alone:", interrupted_after(lambda: torch_trainer(alone, CONFIG).fit()), flush=True)
        print("as a run trains:", interrupted_after(lambda: fit(ours, CONFIG, lambda _: None)), flush=True)


if __name__ == "__main__":
    main()
