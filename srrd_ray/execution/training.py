"""Trainings and searches as records, and the interface of what runs them.

See `core.learner` for what learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

from srrd_ray.core.learner import Learner
from srrd_ray.core.records import Fault
from srrd_ray.execution.config import TuneConfig
from srrd_ray.storage.paths import remove_tree

LearnerFactory: TypeAlias = Callable[[], Iterator[Learner]]
"""Yields the learners one after the other; each is trained before the next is asked for."""

Setting = TypeVar("Setting")


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One training of a sequence of learners.

    Parameters
    ----------
    name
        Unique for its inputs and settings (it holds their hash): a training of the same name is resumed.
    learners
        Picklable; called once on every worker.
    storage
        Folder that every node sees; holds checkpoints and, in the end, the weights.
    checkpoint_seconds
        A checkpoint is written at the end of an epoch where the last one is so old.
    """

    name: str
    learners: LearnerFactory
    storage: Path
    checkpoint_seconds: float = 15.0

    @property
    def weights(self) -> Path:
        """Folder of ``<learner>.safetensors``: present for every learner that is finished."""
        return self.storage / self.name / "weights"

    @property
    def log(self) -> Path:
        """One JSON line an epoch, from rank 0."""
        return self.storage / self.name / "epochs.jsonl"

    def discard(self) -> None:
        """Remove checkpoints and weights, once the results have been saved elsewhere."""
        remove_tree(self.storage / self.name)


Tried: TypeAlias = tuple[Setting, tuple[float, ...]]
"""The setting of a trial that has ended, and its score after every epoch; no score where it diverged."""
Proposal: TypeAlias = Callable[[Sequence[Tried[Setting]]], Setting]
"""Returns the setting of a trial from those that have ended: the same one for the same ones."""


def _unnamed(_setting: object) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Search(Generic[Setting]):
    """One search.

    Parameters
    ----------
    name
        Unique for what it depends on.
    settings
        The settings of the first trials.
    proposals
        Of each further trial how its setting is chosen.
    run
        Yields the score (higher is better) of a setting after every epoch.
    epochs
        Of a trial that is not stopped.
    storage
        Folder that every node sees.
    values
        A setting as TensorBoard shows it, by key.
    """

    name: str
    settings: tuple[Setting, ...]
    run: Callable[[Setting], Iterator[float]]
    epochs: int
    storage: Path
    proposals: tuple[Proposal[Setting], ...] = ()
    values: Callable[[Setting], Mapping[str, float]] = _unnamed

    @property
    def trials(self) -> int:
        """How many settings are tried."""
        return len(self.settings) + len(self.proposals)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial(Generic[Setting]):
    """One setting of a search: its score after every epoch, whether it was stopped early, why it failed."""

    number: int
    setting: Setting
    scores: tuple[float, ...]
    stopped: bool
    fault: Fault | None = None

    @property
    def failure(self) -> str:
        """The message of its fault; empty for a trial that is sound."""
        return self.fault.message if self.fault is not None else ""

    @property
    def sound(self) -> bool:
        """Whether it can win: it has a score and did not fail."""
        return bool(self.scores) and self.fault is None


def winner(trials: Sequence[Trial[Setting]]) -> Trial[Setting]:
    """Return the trial with the best last score; the earlier one where two are equal."""
    return max(
        (trial for trial in trials if trial.sound), key=lambda trial: (trial.scores[-1], -trial.number)
    )


class Trainer(Protocol):
    """Trains learners and searches settings, on as many workers as the configuration of the cluster says."""

    def fit(self, training: Training, log: Callable[[str], None]) -> Path:
        """Return the folder with the weights of every learner; `log` receives one line an epoch."""
        ...

    def search(
        self, searches: Sequence[Search[Setting]], config: TuneConfig
    ) -> Iterator[tuple[Search[Setting], tuple[Trial[Setting], ...]]]:
        """Yield each search with its trials, in order; interrupted searches are resumed."""
        ...
