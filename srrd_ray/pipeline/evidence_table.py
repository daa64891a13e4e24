"""The readings of all ways to learn as tables: agreement with the truth and what each gains, with intervals.

Patients are the sample: cubes are averaged over a region, regions over a patient. A figure of several
repetitions is the mean of theirs, and its interval is from resampled patients, the same in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import strftime
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray import __version__
from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.json_tree import Json
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.serial import to_json
from srrd_ray.diagnosis import DiagnosisConfig, Training
from srrd_ray.diagnosis.models import ridge
from srrd_ray.diagnosis.selection import held_out
from srrd_ray.distillation.data import DistillationData
from srrd_ray.pipeline.evidence import EvidenceRequest, Readings
from srrd_ray.simulation.frozen import shifted_sha256
from srrd_ray.stages.classify import features_of
from srrd_ray.stages.shared.evidence_ways import MODELS
from srrd_ray.statistics import auc_ci, bland_altman, delong_test, icc, line
from srrd_ray.statistics.agreement import icc_values
from srrd_ray.statistics.bootstrap import Rows, bca
from srrd_ray.statistics.estimate import Estimate
from srrd_ray.statistics.pairs import KEYS
from srrd_ray.storage.atomic import write_text

Means = NDArray[np.float64]
"""(repetition, patient, parameter)."""
RESAMPLES: Final = 2000
IN_DETAIL: Final = ("reader-mr", "school", "baseline", "distilled")
DIAGNOSED: Final = ("measured", "baseline", "school", "distilled")
PAPER: Final = "0.804 / 0.773 / 0.711 / 0.622"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """The means of patients by each model, and by the truth (model ``truth``)."""

    patients: tuple[str, ...]
    means: Mapping[str, Means]
    seed: int
    resamples: int

    def agreement(self, model: str, reference: str = "truth") -> Estimate:
        """Return the mean of four ICC(A,1), with its interval."""
        return self._estimate(lambda rows: self._mean_icc(model, reference, rows))

    def gain(self, model: str, other: str) -> Estimate:
        """Return how much better a model agrees with the truth than another, paired by patient."""
        return self._estimate(
            lambda rows: self._mean_icc(model, "truth", rows) - self._mean_icc(other, "truth", rows)
        )

    def by_parameter(self, model: str, reference: str = "truth") -> list[float]:
        """Return ICC(A,1) of each parameter."""
        values = icc_values(self.means[model], self.means[reference][0])
        return [float(value) for value in values.mean(axis=0)]

    def _estimate(self, statistic: Callable[[Rows], float]) -> Estimate:
        return bca(statistic, np.array(self.patients), seed=self.seed, resamples=self.resamples)

    def _mean_icc(self, model: str, reference: str, rows: Rows) -> float:
        return float(icc_values(self.means[model][:, rows], self.means[reference][0][rows]).mean())


def write_evidence(request: EvidenceRequest, readings: Readings, resamples: int = RESAMPLES) -> Path:
    """Return the path of ``evidence.md``; ``evidence.json`` beside it has the settings and hashes."""
    sample = sample_of(readings, request.patients, request.seed, resamples)
    text = "\n".join(_page(request, readings, sample))
    facts: dict[str, Json] = {
        "software": __version__,
        "made": strftime("%Y-%m-%d"),
        "request": json.loads(to_json(request)),
        "simulator_sha256": shifted_sha256(),
        "icc_with_truth": {
            name: dict(zip(PARAMETERS, sample.by_parameter(name), strict=True)) for name in sample.means
        },
    }
    write_text(request.out / "evidence.json", json.dumps(facts, indent=2) + "\n")
    write_text(request.out / "evidence.md", text)
    return request.out / "evidence.md"


def sample_of(readings: Readings, patients: int, seed: int, resamples: int = RESAMPLES) -> Sample:
    """Return the means of all patients, by models that so many of them taught."""
    cubes = readings.cubes
    table = readings.table[readings.table["patients"] == patients]
    means = {
        str(model): np.stack(
            [patient_means(cubes.data, one) for _, one in of_model.groupby("repeat", sort=True)]
        )
        for model, of_model in table.groupby("model", sort=False)
    }
    truth = pd.DataFrame(cubes.truth.astype(np.float64), columns=list(PARAMETERS)).assign(
        cube=np.arange(len(cubes))
    )
    means["truth"] = patient_means(cubes.data, truth)[None]
    return Sample(
        patients=tuple(np.unique(cubes.data.patients).tolist()), means=means, seed=seed, resamples=resamples
    )


def patient_means(data: DistillationData, table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the means (patient, parameter) of the readings of cubes: over each region, then over regions."""
    rows = table["cube"].to_numpy()
    named = table.assign(patient=data.patients[rows], region=data.regions[rows]).dropna(
        subset=list(PARAMETERS)
    )
    regions = named.groupby(["patient", "region"], sort=True)[list(PARAMETERS)].mean()
    means = regions.groupby("patient", sort=True).mean().reindex(np.unique(data.patients))
    return np.asarray(means, np.float64)


def _page(request: EvidenceRequest, readings: Readings, sample: Sample) -> Iterator[str]:
    yield from _head(request, readings)
    yield "## Every way to learn\n"
    yield from _all_ways(sample)
    yield "\n## The main ways in detail\n"
    yield from _in_detail(sample)
    if request.curve:
        yield "\n## More patients\n"
        yield from _curve(request, readings, sample.resamples)
    yield "\n## Osteoarthritis\n"
    yield from _diagnosis(request, readings)
    yield ""


def _head(request: EvidenceRequest, readings: Readings) -> Iterator[str]:
    kind = (
        "whose bone and scanners the school never drew"
        if request.shifted
        else "of the cohort's four hospitals"
    )
    yield f"# What distillation gains: {len(sample_patients(readings))} simulated patients {kind}\n"
    options = f"--patients {request.patients} --seed {request.seed} --seeds {request.seeds}"
    options += f" --curve {' '.join(map(str, request.curve))}" + (" --shifted" if request.shifted else "")
    yield (
        f"`python jobs/evidence.py --out … --work … {options}`, {strftime('%Y-%m-%d')}, "
        f"version {__version__}, simulator {shifted_sha256()[:12]}.\n"
    )
    yield (
        f"{len(readings.cubes)} cubes of {len(readings.plans)} knees, cut at the true bones, the MR as far "
        f"off as a registration leaves it. Every model is learnt {request.seeds} times in "
        f"{request.config.folds} folds of patients, with the same network, passes and settings; nothing is "
        "searched. Figures are the mean of the repetitions over means of patients, intervals are 95 %, from "
        "resampled patients.\n"
    )


def sample_patients(readings: Readings) -> set[str]:
    """Return the patients who have a cube."""
    return set(readings.cubes.data.patients.tolist())


def _all_ways(sample: Sample) -> Iterator[str]:
    with_truth = (*PARAMETERS, "mean ICC(A,1) with the truth", "minus baseline", "minus CT reader")
    yield from _table_head("way to learn", "reads", *with_truth)
    for name, model in MODELS.items():
        if name not in sample.means:
            continue
        cells = [f"{value:.2f}" for value in sample.by_parameter(name)]
        mean = _shown(partial(sample.agreement, name))
        gains = [
            "" if name == other else _shown(partial(sample.gain, name, other), "+")
            for other in ("baseline", "school")
        ]
        yield _line(f"{model.about} (`{name}`)", model.reads, *cells, mean, *gains)


def _in_detail(sample: Sample) -> Iterator[str]:
    figures = ("ICC(A,1) with the truth", "ICC(C,1)", "r", "bias", "limits of agreement")
    yield from _table_head("model", "parameter", *figures, "ICC(A,1) with the MR reader")
    for name in (name for name in IN_DETAIL if name in sample.means):
        for p, parameter in enumerate(PARAMETERS):
            values, truth = sample.means[name].mean(axis=0)[:, p], sample.means["truth"][0][:, p]
            limits = bland_altman(values, truth)
            read = "" if name == "reader-mr" else f"{sample.by_parameter(name, 'reader-mr')[p]:.2f}"
            agreement = [_cell(icc(values, truth)), _cell(icc(values, truth, "C,1"))]
            correlation, spread = f"{line(values, truth).r:.2f}", f"{limits.low:+.3f} to {limits.high:+.3f}"
            yield _line(f"`{name}`", parameter, *agreement, correlation, f"{limits.bias:+.3f}", spread, read)
    yield f"\nMeans of the repetitions; the paper's ICC of CT against what was measured in MR: {PAPER}."


def _curve(request: EvidenceRequest, readings: Readings, resamples: int) -> Iterator[str]:
    ways = ("baseline", "distilled", "distilled minus baseline")
    yield from _table_head("patients, a third of them held out in turn", *ways)
    for patients in (*sorted(request.curve), request.patients):
        sample = sample_of(readings, patients, request.seed, resamples)
        if "distilled" not in sample.means:
            continue
        cells = [
            _shown(partial(sample.agreement, "baseline")),
            _shown(partial(sample.agreement, "distilled")),
            _shown(partial(sample.gain, "distilled", "baseline"), "+"),
        ]
        yield _line(str(patients), *cells)


def _diagnosis(request: EvidenceRequest, readings: Readings) -> Iterator[str]:
    yield from _table_head("readings", "AUC [95 %]", "difference to baseline, p (DeLong, by patient)")
    there = {*readings.table["model"], "truth"}
    scores = {name: _scores(request, readings, name) for name in (*DIAGNOSED, "truth") if name in there}
    knees = {(plan.knee.participant, str(plan.knee.side)): plan.oa for plan in readings.plans}
    for name, one in scores.items():
        labels, patients = [knees[knee] for knee in one], [knee[0] for knee in one]
        cell = _shown(partial(auc_ci, labels, list(one.values()), patients))
        compared = ""
        if name != "baseline":
            found = delong_test(labels, list(one.values()), list(scores["baseline"].values()), patients)
            compared = f"{found.auc_a - found.auc_b:+.3f}, p {found.p:.3f}"
        yield _line(name, cell, compared)


def _scores(request: EvidenceRequest, readings: Readings, model: str) -> dict[tuple[str, str], float]:
    """Return the out-of-fold probability of each knee, the mean of the repetitions."""
    cubes = readings.cubes
    if model == "truth":
        values = pd.DataFrame(cubes.truth.astype(np.float64), columns=list(PARAMETERS))
        table = values.assign(cube=np.arange(len(cubes)), repeat=0)
    else:
        table = readings.table.query("model == @model and patients == @request.patients")
    repeats = [
        _probabilities(request, readings, of_repeat, int(repeat))
        for repeat, of_repeat in table.groupby("repeat", sort=True)
    ]
    return {knee: float(np.mean([one[knee] for one in repeats])) for knee in repeats[0]}


def _probabilities(
    request: EvidenceRequest, readings: Readings, table: pd.DataFrame, repeat: int
) -> dict[tuple[str, str], float]:
    rows = table["cube"].to_numpy()
    places = pd.DataFrame(
        [str(region).split("-") for region in readings.cubes.data.regions[rows]], columns=KEYS[1:]
    )
    named = pd.concat([places, table[list(PARAMETERS)].reset_index(drop=True)], axis=1)
    features = features_of(named.assign(participant=readings.cubes.data.patients[rows]))
    of_knee = {(plan.knee.participant, plan.knee.side): plan.oa for plan in readings.plans}
    labels = np.array([of_knee[knee.participant, knee.side] for knee in features.knees], np.intp)
    folds = {name: fold for name, fold in request.folds(repeat).items() if name in features.patients}
    data = Training(values=features.values, labels=labels, patients=features.patients)
    config = DiagnosisConfig()
    found = held_out(ridge(config), data, folds, config.inner_folds, request.seed + repeat)
    return {
        (knee.participant, knee.side): float(value) for knee, value in zip(features.knees, found, strict=True)
    }


def _table_head(*words: str) -> Iterator[str]:
    yield _line(*words)
    yield "|" + "---|" * len(words)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(estimate: Callable[[], Estimate], sign: str = "") -> str:
    try:
        return _cell(estimate(), sign)
    except NotEstimableError as error:
        return f"not estimable: {error.code}"


def _cell(estimate: Estimate, sign: str = "") -> str:
    value, low, high = estimate
    return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"
