"""Three toy stages, over knees, knees and the cohort, that need each other; each writes a small file an item."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import CohortKnee, Knee, Outcome
from srrd_ray.execution.events import Event, ItemEnded
from srrd_ray.execution.executor import Executor, PlainLoop
from srrd_ray.execution.graph import Inputs, StageGraph
from srrd_ray.execution.listeners import Cleaner
from srrd_ray.execution.lock import locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.stage import AnyStage, CohortInputs, NoSettings, Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.storage.layout import RunLayout

KNEES = [Knee(participant=f"{number}", side="L") for number in range(3)]


@dataclass(frozen=True)
class ToyConfig:
    seed: int = 1
    bad: str = ""
    unused: int = 0


@dataclass(frozen=True)
class FirstSettings:
    seed: int


def write_first(work: Work[FirstSettings]) -> Produced:
    """Write the table part of a knee; the file `bad` beside the run names a knee that is refused."""
    bad = work.layout.root / "bad"
    if bad.is_file() and bad.read_text() == work.item.name:
        raise InputError("toy-fault", "bad knee", where=work.item.name)
    path = work.layout.part("first", work.item.knees[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{work.item.name} {work.settings.seed}")
    return Produced(paths=(path,))


def write_second(work: Work[NoSettings]) -> Produced:
    """Copy what the first stage wrote."""
    knee = work.item.knees[0]
    path = work.layout.part("second", knee)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(work.layout.part("first", knee).read_text())
    return Produced(paths=(path,))


def write_last(work: Work[NoSettings]) -> Produced:
    """Join what the second stage wrote."""
    path = work.layout.table("last")
    path.write_text("\n".join(work.layout.part("second", knee).read_text() for knee in work.cohort.remaining))
    return Produced(paths=(path,))


STAGES: tuple[AnyStage, ...] = (
    Stage(name="first", scope="knee", function=write_first, settings=FirstSettings, outputs=("tables/parts/first",)),
    Stage(
        name="second", scope="knee", function=write_second, settings=NoSettings, needs=("first",),
        outputs=("tables/parts/second",),
    ),
    Stage(
        name="last", scope="cohort", function=write_last, settings=NoSettings, needs=("second",),
        outputs=("tables/last",),
    ),
)  # fmt: skip


@dataclass
class Outcomes:
    """A listener that keeps all outcomes."""

    found: list[Outcome] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, ItemEnded):
            self.found += event.result.outcomes

    def statuses(self) -> dict[str, str]:
        return {f"{o.stage} {o.knee.participant if o.knee else 'cohort'}": o.status for o in self.found}


def inputs(config: ToyConfig) -> Inputs:
    """The inputs of a run over three knees, two of them in one shard."""
    sources = {
        k.key: CohortKnee(knee=k, ct=None, mr=None, kl_grade=None, oa=None, age=None, sex=None) for k in KNEES
    }
    shards = {"shard-00000": tuple(KNEES[:2]), "shard-00001": (KNEES[2],)}
    cohort = CohortInputs(knees=tuple(sources.values()))
    return Inputs(
        config=config, sources=sources, shards=shards, cohort=cohort, hash_outside=lambda _kind, _name: ""
    )


def run(
    root: Path,
    config: ToyConfig | None = None,
    *,
    verify: bool = False,
    executor: Executor | None = None,
    stages: tuple[AnyStage, ...] = STAGES,
    resumes: bool = False,
) -> Outcomes:
    """Carry out the toy stages in a run folder and return the outcomes."""
    outcomes, layout = Outcomes(), RunLayout(root=root)
    with (
        locked(root),
        Runner(
            executor=executor or PlainLoop(),
            listeners=(outcomes, Cleaner(layout=layout, resumes=resumes)),
            verify=verify,
        ) as runner,
    ):
        graph = StageGraph(
            runner=runner,
            layout=layout,
            stages=stages,
            inputs=inputs(config or ToyConfig()),
            remaining=list(KNEES),
        )
        for stage in stages:
            graph.run_stage(stage)
    return outcomes
