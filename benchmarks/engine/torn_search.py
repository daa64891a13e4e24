"""ray#58179: a search whose `tuner.pkl` is empty cannot be restored (EOFError), so a job that was killed while
it wrote never goes on.

``PYTHONPATH=. python benchmarks/engine/torn_search.py`` searches once, then empties, cuts, alters or
removes each file of Tune's state in a copy, and asks Tune itself (`Tuner.restore` and `fit`) and
`srrd_ray.cluster.tuning.search` to go on from there.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from own_ray import own_ray
from ray import tune

from srrd_ray.cluster.tuning import search
from srrd_ray.execution.config import TuneConfig
from srrd_ray.execution.training import Search

SETTINGS = (0.5, 0.1, 0.9)
FILES = (
    "tuner.pkl",
    "experiment_state-*.json",
    "basic-variant-state-*.json",
    "*/result.json",
    "*/progress.csv",
)


def climb(setting: float) -> Iterator[float]:
    yield from (setting * (epoch + 1) for epoch in range(3))


def plan(root: Path) -> Search[float]:
    return Search(name="torn", settings=SETTINGS, run=climb, epochs=3, storage=root)


def tear(path: Path, how: str) -> None:
    """Do to a file what a kill, a full disk or a bad one does."""
    data = path.read_bytes()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "altered":
            path.write_bytes(data[: len(data) // 2] + b"\xff\xff\xff\xff" + data[len(data) // 2 + 4 :])
        case "gone":
            path.unlink()


def restored(root: Path) -> str:
    def trial(space: dict[str, int]) -> None:
        for score in climb(SETTINGS[space["number"]]):
            tune.report({"score": score})

    trial.__name__ = "trial-torn"
    results = tune.Tuner.restore(
        str(root / "torn"), tune.with_resources(trial, {"CPU": 1}), restart_errored=True
    ).fit()
    return f"{len(results)} trials, {results.num_errors} errors"


def ours(root: Path) -> str:
    scores = [trial.scores[-1] for trial in search(plan(root), TuneConfig()) if trial.scores]
    return f"{len(scores)} trials, best {max(scores):.2f}"


def outcome(ask: Callable[[Path], str], root: Path) -> str:
    try:
        return ask(root)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:70] if str(error) else ''}"


def main() -> None:
    with own_ray(), tempfile.TemporaryDirectory(prefix="torn-") as folder:
        whole = Path(folder) / "whole"
        print(
            "undisturbed:", ours(whole), sorted(path.name for path in (whole / "torn").iterdir()), flush=True
        )
        for pattern in FILES:
            for how in ("empty", "cut", "altered", "gone"):
                for name, ask in (("Tune", restored), ("ours", ours)):
                    root = Path(folder) / "torn"
                    shutil.copytree(whole, root)
                    for path in (root / "torn").glob(pattern):
                        tear(path, how)
                    began = time.monotonic()
                    print(
                        f"{pattern:<28} {how:<8} {name}: {outcome(ask, root)} ({time.monotonic() - began:.0f} s)",
                        flush=True,
                    )
                    shutil.rmtree(root)


if __name__ == "__main__":
    main()
