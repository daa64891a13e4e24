"""ray#58179: a search whose `tuner.pkl` is empty cannot be restored (EOFError), so a job that was killed while
it wrote never goes on.

``PYTHONPATH=. python benchmarks/engine/torn_search.py [FILE]`` searches four settings, keeps what lay in
storage while the second trial ran, as after a kill, and empties, cuts or removes each file of it (or FILE
alone). Tune itself (`Tuner.restore` and `fit`) and `srrd_ray.cluster.tuning.search` go on from there.
Prints the epochs of each trial, or the error.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from own_ray import own_ray
from ray import tune

from srrd_ray.cluster.tuning import search
from srrd_ray.execution.config import TuneConfig
from srrd_ray.execution.training import Search

SETTINGS = (0.5, 0.1, 0.9, 0.3)
FILES = (
    "nothing",
    "torn/tuner.pkl",
    "torn/experiment_state-*",
    "torn/basic-variant-state-*",
    "torn.scores/0.json",
)
STATE_S = 15.0
"""Tune writes its state every ten seconds."""


def climb(root: Path, by: str, setting: float) -> Iterator[float]:
    """Yield three scores; the second setting keeps a copy of the storage as it is in its second epoch."""
    for epoch in range(3):
        if setting == SETTINGS[1] and epoch == 1 and not (root / by).exists():
            time.sleep(STATE_S)
            shutil.copytree(root / "search", root / by)
        yield setting * (epoch + 1)


def tear(path: Path, how: str) -> None:
    """Do to a file what a kill or a full disk does."""
    match how:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "gone":
            path.unlink()


def trial_of_tune(root: Path) -> Callable[[dict[str, int]], None]:
    """Return what Tune runs where it keeps its own state."""

    def trial(space: dict[str, int]) -> None:
        for score in climb(root, "Tune", SETTINGS[space["number"]]):
            tune.report({"score": score})

    trial.__name__ = "trial-torn"
    return trial


def by_tune(root: Path) -> list[int]:
    """Return the epochs of each trial of a search of Tune alone, with its own search over a grid."""
    found = tune.Tuner(
        tune.with_resources(trial_of_tune(root), {"CPU": 1}),
        param_space={"number": tune.grid_search(list(range(len(SETTINGS))))},
        tune_config=tune.TuneConfig(metric="score", mode="max", max_concurrent_trials=1, reuse_actors=True),
        run_config=tune.RunConfig(name="torn", storage_path=str(root / "search"), verbose=0),
    ).fit()
    return [int(found[number].metrics.get("training_iteration", 0)) for number in range(len(found))]


def restored(root: Path) -> list[int]:
    """Return the epochs of each trial that Tune restores."""
    found = tune.Tuner.restore(
        str(root / "search" / "torn"), tune.with_resources(trial_of_tune(root), {"CPU": 1}),
        resume_unfinished=True, restart_errored=True,
    ).fit()  # fmt: skip
    return [int(found[number].metrics.get("training_iteration", 0)) for number in range(len(found))]


def ours(root: Path) -> list[int]:
    """Return the epochs of each trial of a search of ours."""
    run = partial(climb, root, "ours")
    plan = Search(name="torn", settings=SETTINGS, run=run, epochs=3, storage=root / "search")
    return [len(trial.scores) for trial in search(plan, TuneConfig())]


def outcome(ask: Callable[[Path], list[int]], root: Path) -> str:
    try:
        return f"epochs {ask(root)}"
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1][:70]}"


def main() -> None:
    with own_ray(), tempfile.TemporaryDirectory(prefix="torn-") as folder:
        root = Path(folder)
        for name, ask in (("Tune", by_tune), ("ours", ours)):
            print(f"undisturbed, {name}:", outcome(ask, root), flush=True)
        for pattern in sys.argv[1:] or FILES:
            for how in ("empty", "cut", "gone") if pattern != "nothing" else ("torn",):
                for name, ask in (("Tune", restored), ("ours", ours)):
                    shutil.rmtree(root / "search")
                    shutil.copytree(root / name, root / "search")
                    for path in (root / "search").glob(pattern):
                        tear(path, how)
                    print(f"{pattern:<26} {how:<5} {name}: {outcome(ask, root)}", flush=True)


if __name__ == "__main__":
    main()
