"""The search of every fold, each trial to its end in a plain loop: what is tried, kept and chosen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from srrd_ray.distillation.config import SearchConfig
from srrd_ray.execution.config import Algorithm, TuneConfig
from srrd_ray.execution.stage import CohortInputs, Work
from srrd_ray.execution.training import Search, Training, Trial, Tried
from srrd_ray.execution.work import WorkItem
from srrd_ray.stages.shared.learning import WINNERS, Winners
from srrd_ray.stages.tune import TuneSettings, tune
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import read_record
from srrd_ray.storage.tables import read_table
from tests.distillation.toys import SMALL

Setting = TypeVar("Setting")

SPACE = SearchConfig(epochs=1, inner_folds=2, noise=(0.0, 60.0), offset=(0.0, 20.0), width=(4, 8))


class Loop:
    """Runs each trial to its end, one after the other."""

    def fit(self, training: Training, log: Callable[[str], None]) -> Path:
        raise NotImplementedError

    def search(
        self,
        searches: Sequence[Search[Setting]],
        config: TuneConfig,  # noqa: ARG002
    ) -> Iterator[tuple[Search[Setting], tuple[Trial[Setting], ...]]]:
        for plan in searches:
            settings = list(plan.settings)
            tried: list[Tried[Setting]] = []
            for number in range(plan.trials):
                if number >= len(settings):
                    settings.append(plan.proposals[number - len(plan.settings)](tried))
                tried.append((settings[number], tuple(plan.run(settings[number]))))
            yield (
                plan,
                tuple(
                    Trial(number=number, setting=setting, scores=scores, stopped=False)
                    for number, (setting, scores) in enumerate(tried)
                ),
            )


def searched(learnt: RunLayout, root: Path, algorithm: Algorithm, trials: int) -> RunLayout:
    layout = RunLayout(root=root / algorithm)
    shutil.copytree(learnt.root, layout.root)
    settings = TuneSettings(
        distillation=replace(SMALL, search=SPACE), seed=1, training_workers=1, knees_per_shard=3,
        tune=TuneConfig(trials=trials, algorithm=algorithm, grace_epochs=1),
    )  # fmt: skip
    cohort = CohortInputs(shards=("shard-00000", "shard-00001"))
    item = WorkItem(name="cohort", input_hash="0" * 64, knees=())
    tune(Work(item=item, layout=layout, settings=settings, cohort=cohort, trainer=Loop()))
    return layout


@pytest.mark.training
@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_every_fold_tries_no_teacher_the_default_and_others_and_keeps_its_best(
    learnt: RunLayout, tmp_path: Path, algorithm: Algorithm
) -> None:
    layout = searched(learnt, tmp_path, algorithm, trials=3)
    table = read_table(layout.table("tune"))
    assert list(table["fold"].value_counts()) == [3, 3, 3]
    first, default, other = (table[table["trial"] == number] for number in range(3))
    assert (first[["kd_weight", "feature_weight", "relation_weight"]] == 0).all(axis=None)
    assert set(first["noise"]) == set(default["noise"]) == {0.0}
    assert other["noise"].between(0, 60).all()
    assert other["noise"].nunique() == 3
    assert table["icc"].nunique() > 3
    winners = read_record(Winners, layout.model(WINNERS), "winners").folds
    for fold, rows in table.groupby("fold"):
        best = rows.sort_values(["icc", "trial"], ascending=[False, True]).iloc[0]
        assert best["status"] == "winner"
        chosen = winners[int(str(fold))].values()
        assert {key: best[key] for key in chosen} == chosen
