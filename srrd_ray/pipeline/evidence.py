"""What distillation gains, and which part of it: ways to learn compared on the cubes of simulated patients.

Cubes are made once (`stages.shared.evidence_cubes`), then every course (`stages.shared.evidence_ways`) is
held in every fold for every seed, each a work item of its own: the same command again goes on with what is
not finished.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.errors import ClusterError
from srrd_ray.core.hashing import hash_json, seed_from
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.serial import to_json
from srrd_ray.diagnosis.splits import patient_folds
from srrd_ray.distillation.config import DistillationConfig
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import Executor
from srrd_ray.execution.listeners import ProgressLog
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.sidecars import input_hash
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.morphometry.resolve import MorphometryConfig
from srrd_ray.simulation.cohort import sample_acquisition
from srrd_ray.simulation.frozen import shifted_sha256
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.simulation.school import SchoolKnee
from srrd_ray.simulation.shifted import sample_shifted_knee
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table, write_table

if TYPE_CHECKING:
    from srrd_ray.stages.shared.evidence_cubes import EvidenceCubes

log = logging.getLogger(__name__)

CUBES, LEARN = "evidence-cubes", "evidence-learn"
LEAST = 0.9
"""Share of the knees that must be there."""
MAIN: Final = ("measured", "readers")
"""The courses of all patients; `curve` is that of a part of them."""
UNLEARNT: Final = "unlearnt"
"""In the place of a course: what learns nothing from the cubes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceRequest:
    """Compare ways to learn on simulated patients whom nothing was tuned on.

    Parameters
    ----------
    out
        Folder of the results: ``evidence.md`` and ``evidence.json``.
    work
        Folder that every node sees: cubes (2 MB a knee) and readings; kept, so that the work can go on.
    patients
        How many; one in eight brings both knees.
    seed
        Of the patients.
    shifted
        Bone and scanners that the school never drew (`simulation.shifted`).
    seeds
        How often everything is learnt, with other folds, weights and order.
    curve
        Smaller numbers of patients, for the learning curve.
    readers
        Folder of a school's readers; those of the package where it is empty.
    """

    out: Path
    work: Path
    patients: int = 80
    seed: int = 4242
    shifted: bool = False
    seeds: int = 3
    curve: tuple[int, ...] = (20, 40)
    readers: str = ""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    @property
    def config(self) -> DistillationConfig:
        """The defaults of a run; nothing is searched."""
        return DistillationConfig(school=self.readers)

    def plan(self) -> tuple[SimulatedKnee, ...]:
        """Return the knees."""
        return simulate_cohort_plan(ceil(self.patients * 9 / 8), self.seed, "quick")

    def cubes(self, plan: SimulatedKnee) -> Path:
        """Return the shard of a knee."""
        kind = "shifted" if self.shifted else "cohort"
        return self.work.resolve() / "cubes" / f"{kind}-{self.seed}-{self.patients}" / f"{plan.knee.key}.zarr"

    def folds(self, repeat: int) -> dict[str, int]:
        """Return the fold of each patient in a repetition."""
        plans = self.plan()
        names, labels = [p.knee.participant for p in plans], [p.oa for p in plans]
        return patient_folds(names, labels, self.config.folds, seed_from(self.seed, "folds", repeat))


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """What every model read.

    `table` has a row a cube, model and repetition: ``cube`` (its row in `cubes`), ``model``, ``patients``
    (who taught, in all folds together), ``repeat`` and the four parameters.
    """

    cubes: EvidenceCubes
    plans: tuple[SimulatedKnee, ...]
    table: pd.DataFrame


def gather_evidence(request: EvidenceRequest, executor: Executor) -> Readings:
    """Return what every model of every course reads in patients that it did not learn from.

    Raises
    ------
    ClusterError
        `evidence-small` where more than a tenth of the knees, or any course, failed.
    """
    root, started = request.work.resolve(), monotonic()
    with locked(root), Runner(executor=executor, listeners=(ProgressLog(),)) as runner:
        plans = _make_cubes(request, runner, root)
        paths = tuple(request.cubes(plan) for plan in plans)
        cubes = _read(paths)
        log.info("%-16s %d cubes of %d knees", CUBES, len(cubes), len(plans))
        tables = list(_hold_courses(request, runner, root, paths))
    log.info("%-16s %.0f s", "evidence", monotonic() - started)
    return Readings(cubes=cubes, plans=plans, table=pd.concat(tables, ignore_index=True))


@lru_cache(maxsize=1)
def _read(paths: tuple[Path, ...]) -> EvidenceCubes:
    """Return the cubes of some knees; kept for the next course of this process."""
    from srrd_ray.stages.shared.evidence_cubes import read_evidence_cubes  # torch takes seconds to import

    return read_evidence_cubes(paths)


@dataclass(frozen=True, kw_only=True, slots=True)
class _MakeCubes:
    """Makes the cubes of the knee that a work item names."""

    request: EvidenceRequest
    plans: dict[str, SimulatedKnee]

    def __call__(self, item: WorkItem) -> Produced:
        from srrd_ray.stages.shared.evidence_cubes import (
            write_evidence_cubes,
        )  # torch takes seconds to import

        plan = self.plans[item.name]
        knee = (
            sample_shifted_knee(plan)
            if self.request.shifted
            else SchoolKnee(plan=plan, micro=None, scans=sample_acquisition(plan))
        )
        path = self.request.cubes(plan)
        write_evidence_cubes(path, knee, MorphometryConfig())
        return Produced(paths=(path, path.with_suffix(".parquet")))


def _make_cubes(request: EvidenceRequest, runner: Runner, root: Path) -> tuple[SimulatedKnee, ...]:
    """Return the knees whose cubes are there, made where they were not."""
    plans = {plan.knee.key: plan for plan in request.plan()}
    task = Task(
        stage=CUBES, layout=RunLayout(root=root), function=_MakeCubes(request=request, plans=plans),
        shared_storage_probe=root / LOCK,
    )  # fmt: skip
    depends = [shifted_sha256(), request.shifted, to_json(MorphometryConfig())]
    items = [
        WorkItem(
            name=name,
            input_hash=input_hash(CUBES, hash_json([to_json(plan), *depends]), []),
            knees=(plan.knee,),
        )
        for name, plan in plans.items()
    ]
    there = {item.name for item, result, _ in runner.run_items(task, items) if result.sidecar is not None}
    if len(there) < LEAST * len(items):
        raise _small(f"{len(there)} of {len(items)} knees")
    return tuple(plan for name, plan in plans.items() if name in there)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sitting:
    """One course in one fold of one repetition; `patients` teach in all folds together."""

    course: str
    patients: int
    repeat: int
    fold: int

    @property
    def name(self) -> str:
        """The name of its work item."""
        return f"{self.course}_{self.patients}-patients_repeat-{self.repeat}_fold-{self.fold}"


def sittings(request: EvidenceRequest) -> Iterator[Sitting]:
    """Yield every course that has to be held, repetition by repetition; first what learns nothing."""
    yield Sitting(course=UNLEARNT, patients=request.patients, repeat=0, fold=0)
    courses = [(name, request.patients) for name in MAIN] + [("curve", few) for few in request.curve]
    for repeat in range(request.seeds):
        for fold in range(request.config.folds):
            for course, patients in courses:
                yield Sitting(course=course, patients=patients, repeat=repeat, fold=fold)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Learn:
    """Holds the course that a work item names."""

    request: EvidenceRequest
    root: Path
    paths: tuple[Path, ...]
    sittings: dict[str, Sitting]

    def __call__(self, item: WorkItem) -> Produced:
        sitting, path = self.sittings[item.name], _readings(self.root, item.name)
        tables = [
            _rows(model, values, asked, sitting.patients, sitting.repeat)
            for model, asked, values in self._read_by_models(sitting)
        ]
        write_table(path, pd.concat(tables, ignore_index=True))
        return Produced(paths=(path,))

    def _read_by_models(
        self, sitting: Sitting
    ) -> Iterator[tuple[str, NDArray[np.intp], NDArray[np.float32]]]:
        """Yield each model with the rows of the cubes that it read, and what it read."""
        # torch takes seconds to import
        from srrd_ray.stages.shared.evidence_ways import COURSES, lesson_of, unlearnt

        request, cubes = self.request, _read(self.paths)
        if sitting.course == UNLEARNT:
            for model, values in unlearnt(cubes, request.readers).items():
                yield model, np.arange(len(cubes)), values
            return
        folds = request.folds(sitting.repeat)
        asked = np.flatnonzero([folds[str(name)] == sitting.fold for name in cubes.data.patients])
        lesson = lesson_of(
            cubes, request.config, sitting.fold, folds, seed=sitting.repeat,
            patients=0 if sitting.patients == request.patients else sitting.patients,
        )  # fmt: skip
        for model, values in COURSES[sitting.course](lesson):
            yield model, asked, values


def _hold_courses(
    request: EvidenceRequest, runner: Runner, root: Path, paths: tuple[Path, ...]
) -> Iterator[pd.DataFrame]:
    all_of = {sitting.name: sitting for sitting in sittings(request)}
    task = Task(
        stage=LEARN, layout=RunLayout(root=root),
        function=_Learn(request=request, root=root, paths=paths, sittings=all_of),
        shared_storage_probe=root / LOCK,
    )  # fmt: skip
    depends = [*_hashes(paths), to_json(request.config), _school_sha256(request.readers), request.seed]
    items = [
        WorkItem(name=name, input_hash=input_hash(LEARN, hash_json([to_json(sitting), *depends]), []))
        for name, sitting in all_of.items()
    ]
    failed = [item.name for item, result, _ in runner.run_items(task, items) if result.sidecar is None]
    if failed:
        raise _small(f"{len(failed)} of {len(items)} courses failed, {failed[0]} among them")
    yield from (read_table(_readings(root, name)) for name in all_of)


def _rows(
    model: str, values: NDArray[np.float32], cubes: NDArray[np.intp], patients: int, repeat: int
) -> pd.DataFrame:
    table = pd.DataFrame(values.astype(np.float64), columns=list(PARAMETERS))
    return table.assign(cube=cubes, model=model, patients=patients, repeat=repeat)


def _readings(root: Path, name: str) -> Path:
    return root / "readings" / f"{name}.parquet"


def _hashes(paths: Sequence[Path]) -> list[str]:
    return [hash_file(path.with_suffix(".parquet")) for path in paths]


def _school_sha256(readers: str) -> str:
    from srrd_ray.stages.shared.school_files import CARD, require_school

    return hash_file(require_school(readers) / CARD)


def _small(got: str) -> ClusterError:
    return ClusterError(
        "evidence-small", "too little was finished to compare anything", got=got,
        todo="Look at the failures above, and run the same command again.",
    )  # fmt: skip
