"""What distillation gains, and which part of it: one cohort, one run folder, and a run for each control.

The controls differ in the settings of learning alone, so that everything up to the cubes and their
measurement is done once; the same command again goes on with the controls that are not finished.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import pandas as pd

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.config import Labels, Start
from srrd_ray.pipeline.configuration import RunConfig, read_config
from srrd_ray.pipeline.configuration_text import commented_yaml
from srrd_ray.pipeline.run import MakeExecutor, RunRequest, run
from srrd_ray.statistics.estimate import Estimate
from srrd_ray.statistics.pairs import common, patient_pairs_of, with_reference
from srrd_ray.statistics.regression import gain, mean_icc
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table, write_table

log = logging.getLogger(__name__)

RESAMPLES: Final = 2000
HEAD: Final = """\
| way to learn | reads | ICC(A,1) with the truth, mean of four [95 %] | gain over CT alone [95 %] |
|---|---|---|---|
"""
BASELINE: Final = ("measured", "baseline")
"""The student without MR: what every other is compared with."""
Model: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """A way to learn: what it is in words, and its settings."""

    about: str
    labels: Labels
    start: Start = "reader"
    guided: bool = True

    def config(self, usual: RunConfig, readers: str) -> RunConfig:
        """Return the configuration of its run."""
        learning = replace(usual.distillation, labels=self.labels, start=self.start, school=readers)
        if self.guided:
            return replace(usual, distillation=learning)
        alone = replace(learning, hyper=learning.hyper.without_teacher())
        return replace(usual, distillation=alone, tune=replace(usual.tune, trials=1))


CONTROLS: Final[Mapping[str, Control]] = MappingProxyType(
    {
        "measured": Control(about="labels measured in MR; a teacher learns them", labels="measured"),
        "reader": Control(
            about="labels of the school's readers; the student begins at the reader of CT", labels="reader"
        ),
        "reader-ridge": Control(
            about="the same, the student begins at a ridge regression", labels="reader", start="ridge"
        ),
        "reader-values": Control(
            about="the readers' values alone: no histograms, features, relations",
            labels="reader",
            guided=False,
        ),
    }
)
SHOWN: Final[tuple[Model, ...]] = (
    BASELINE,
    ("measured", "teacher"),
    ("measured", "distilled"),
    ("reader", "teacher"),
    ("reader", "school"),
    ("reader", "distilled"),
    ("reader-ridge", "distilled"),
    ("reader-values", "distilled"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceRequest:
    """Compare ways to learn on a simulated cohort.

    Parameters
    ----------
    cohort
        A simulated one: the truth judges.
    run
        Folder of the run that all controls share.
    out
        Folder of the results: the tables of each control, and ``evidence.md``.
    config
        Of the run; its settings of learning are those of the controls.
    readers
        Folder of a school's readers; those of the package where it is empty.
    """

    cohort: Path
    run: Path
    out: Path
    config: Path | None = None
    readers: str = ""


def gather_evidence(request: EvidenceRequest, make_executor: MakeExecutor) -> int:
    """Return the exit code: the largest of the runs' codes; writes ``evidence.md``."""
    usual, code = read_config(request.config), 0
    readers = str(Path(request.readers).resolve()) if request.readers else ""
    for name, control in CONTROLS.items():
        code = max(code, _carry_out(request, name, control.config(usual, readers), make_executor))
    write_text(request.out / "evidence.md", evidence_table(request.out, usual.seed))
    return code


def _carry_out(request: EvidenceRequest, name: str, config: RunConfig, make_executor: MakeExecutor) -> int:
    """Run a control and keep its tables, unless they are there already for the same settings."""
    folder, text = request.out / name, commented_yaml(config)
    done, asked = folder / "done.yaml", folder / "run.yaml"
    if done.is_file() and done.read_text(encoding="utf-8") == text:
        log.info("%-16s %s: there already", "evidence", name)
        return 0
    write_text(asked, text)
    log.info("%-16s %s: %s", "evidence", name, CONTROLS[name].about)
    code = run(
        RunRequest(cohort=request.cohort, out=request.run, config=asked, overwrite=True), make_executor
    )
    layout = RunLayout(root=request.run)
    for table in ("predictions", "truth", "diagnosis"):
        write_table(folder / f"{table}.parquet", read_table(layout.table(table)))
    write_text(folder / "metrics.json", layout.metrics.read_text(encoding="utf-8"))
    write_text(done, text)
    return code


def evidence_table(out: Path, seed: int) -> str:
    """Return the table of all models: agreement with the truth, and the gain over the student without MR."""
    return HEAD + "".join(_rows(out, seed))


def _rows(out: Path, seed: int) -> Iterator[str]:
    baseline = _against_truth(out, BASELINE)
    for model in SHOWN:
        table = _against_truth(out, model)
        ours, theirs = (patient_pairs_of(one, PARAMETERS) for one in common(table, baseline, PARAMETERS))
        reads = "MR" if model[1] == "teacher" else "CT"
        own = _shown(partial(mean_icc, ours, seed=seed, resamples=RESAMPLES))
        compared = partial(gain, ours, theirs, seed=seed, resamples=RESAMPLES)
        better = "" if model == BASELINE else _shown(compared)
        yield f"| {CONTROLS[model[0]].about}: {model[1]} | {reads} | {own} | {better} |\n"


def _against_truth(out: Path, model: Model) -> pd.DataFrame:
    predictions, truth = (read_table(out / model[0] / f"{name}.parquet") for name in ("predictions", "truth"))
    return with_reference(predictions[predictions["model"] == model[1]], truth, PARAMETERS)


def _shown(estimate: Callable[[], Estimate]) -> str:
    try:
        value, low, high = estimate()
    except NotEstimableError as error:
        return f"not estimable: {error.code}"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
