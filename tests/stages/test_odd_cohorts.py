"""From the tables of small and odd cohorts to metrics: a number inside its schema, or null with its reason."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import CohortKnee, Knee
from srrd_ray.diagnosis import DiagnosisConfig
from srrd_ray.stages.classify import classify
from srrd_ray.stages.evaluate import evaluate
from srrd_ray.stages.shared import metrics
from srrd_ray.stages.shared.gather import write_knees
from srrd_ray.stages.shared.run_page import build_report
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.schemas import validate
from srrd_ray.storage.tables import CONTRACTS, read_table, write_table
from tests.run_folder import make_run

QUICK = DiagnosisConfig(inverse_penalties=(0.03,), inner_folds=2)
Change = Callable[[pd.DataFrame], pd.DataFrame]


def filled(column: str, value: object, kind: str) -> Change:
    return lambda table: table.assign(**{column: pd.array([value] * len(table), dtype=kind)})


def constant(value: float) -> Change:
    return lambda table: table.assign(**dict.fromkeys(PARAMETERS, value))


def reversed_values(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: 1 - table[name] for name in PARAMETERS})


ODD: dict[str, tuple[str, Change]] = {
    "as it is": ("knees", lambda table: table),
    "one class": ("knees", filled("oa", 1, "Int64")),
    "no label": ("knees", filled("oa", None, "Int64")),
    "no age": ("knees", filled("age", None, "Float64")),
    "no sex": ("knees", filled("sex", None, "object")),
    "no knee in a fold": ("knees", filled("fold", None, "Int64")),
    "constant predictions": ("predictions", constant(0.3)),
    "reversed predictions": ("predictions", reversed_values),
    "no predictions": ("predictions", lambda table: table.iloc[:0]),
    "one cube": ("predictions", lambda table: table.groupby("model").head(1)),
    "one compartment": ("predictions", lambda table: table[table["compartment"] == "medial"]),
    "the teacher alone": ("predictions", lambda table: table[table["model"] == "teacher"]),
    "constant measures": ("measures", constant(0.3)),
    "measures without a value": ("measures", constant(np.nan)),
    "no measures": ("measures", lambda table: table.iloc[:0]),
    "no registration": ("registration", lambda table: table.iloc[:0]),
    "every bone refused": ("registration", lambda table: table.assign(accepted=False)),
}  # fmt: skip


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Path]:
    roots = {n: tmp_path_factory.mktemp(f"of-{n}") / "made" for n in (1, 2, 3, 5)}
    for patients, root in roots.items():
        make_run(root, patients=patients, folds=min(2, patients))
    return roots


def evaluated(root: Path) -> Mapping[str, object]:
    layout = RunLayout(root=root / "run")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(metrics, "RESAMPLES", 20)
        classify(layout, QUICK, seed=0)
        evaluate(layout, root / "cohort")
    found: Mapping[str, object] = json.loads(layout.metrics.read_text())
    return found


def unexplained(data: object, key: str = "", reason: str = "") -> Iterator[str]:
    """Yield each figure that is null without a reason beside it."""
    if isinstance(data, Mapping):
        beside = str(data.get("reason", reason))
        for name, value in data.items():
            yield from unexplained(value, f"{key}/{name}", beside)
    elif data is None and not reason:
        yield key


FEW = ("as it is", "one class", "constant predictions", "reversed predictions")
SLOW = [
    pytest.param(n, odd, marks=pytest.mark.slow) for n, odds in ((1, FEW), (3, FEW), (5, ODD)) for odd in odds
]


@pytest.mark.parametrize(("patients", "odd"), [*((2, odd) for odd in ODD), *SLOW])
def test_each_figure_is_a_number_or_null_with_its_reason(
    templates: Mapping[int, Path], tmp_path: Path, patients: int, odd: str
) -> None:

    root = shutil.copytree(templates[patients], tmp_path / "made")
    name, change = ODD[odd]
    path = RunLayout(root=root / "run").table(name)
    write_table(path, change(read_table(path)), CONTRACTS[name])
    found = evaluated(root)
    validate("metrics", found)
    assert list(unexplained(found)) == []


def test_a_run_of_two_patients_has_a_page_that_says_of_how_few_it_learnt(
    templates: Mapping[int, Path], tmp_path: Path
) -> None:

    root = shutil.copytree(templates[2], tmp_path / "made")
    layout = RunLayout(root=root / "run")
    tune = read_table(layout.table("tune"))
    write_table(layout.table("tune"), tune.iloc[:0])
    evaluated(root)
    page = build_report(layout)[0].read_text(encoding="utf-8")
    assert "learnt from 1 patients" in page
    assert "fewer than 20" in page
    assert "Nothing was searched" in page


def remaining(names: list[str]) -> list[CohortKnee]:
    return [
        CohortKnee(knee=Knee(participant=n, side="L"), ct=None, mr=None, kl_grade=None, oa=None, age=None, sex=None, masks=())
        for n in names
    ]  # fmt: skip


def test_where_knees_failed_the_folds_follow_the_patients(tmp_path: Path) -> None:
    layout, cohort = RunLayout(root=tmp_path), remaining(["1", "2", "3"])
    write_knees(layout, cohort, [one.knee for one in cohort[:2]], folds=3, seed=1)
    assert sorted(read_table(layout.table("knees"))["fold"].dropna()) == [0, 1]
    with pytest.raises(InputError, match=r"\[patients-few\].*1 without a failed knee"):
        write_knees(layout, cohort, [cohort[0].knee], folds=3, seed=1)
