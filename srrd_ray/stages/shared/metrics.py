"""The figures of each part of a run, as plain JSON values.

What cannot be estimated is null, with a `reason`. So is an infinite figure, and an interval with an infinite
end: JSON has no number for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.statistics import (
    MIN_POSITIVES,
    Estimate,
    auc,
    auc_ci,
    bca,
    bias_percent,
    bias_slope,
    bland_altman,
    brier,
    calibration,
    ccc,
    cv_percent,
    delong_test,
    ece,
    errors,
    icc,
    line,
    require_both_classes,
)
from srrd_ray.statistics.pairs import common, patient_pairs, patient_pairs_of, region_pairs
from srrd_ray.statistics.regression import Pairs, gain, mean_icc, pooled_icc

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Part: TypeAlias = tuple[tuple[str, ...], Callable[[], Mapping[str, Json]]]
RESAMPLES = 1000
PLAIN = "readings logistic"
"""The inputs and classifier of the diagnosis itself."""
AGREEMENT = ("icc", "icc_ci")
REGRESSION = (*AGREEMENT, "icc_consistency", "icc_region", "icc_region_ci", "ccc", "r", "slope")
CLASSES = ("auc", "auc_ci", "auc_ci_bootstrap", "brier", "ece", "calibration_intercept", "calibration_slope")


def estimated(parts: Sequence[Part]) -> dict[str, Json]:
    """Return the values of all `parts`.

    Those that are infinite or raise `NotEstimableError` are null, with a ``reason``.
    """
    found: dict[str, Json] = {}
    reasons: list[str] = []
    for keys, compute in parts:
        try:
            values = compute()
        except NotEstimableError as error:
            found.update(dict.fromkeys(keys))
            reasons.append(str(error))
            continue
        infinite = [key for key, value in values.items() if not _is_finite(value)]
        found.update({**values, **dict.fromkeys(infinite)})
        reasons += [f"[infinite] {key} has no finite value" for key in infinite]
    return found | ({"reason": "; ".join(dict.fromkeys(reasons))} if reasons else {})


def _is_finite(value: Json) -> bool:
    return bool(np.isfinite(np.asarray(value, dtype=np.float64)).all())


def absent(keys: Sequence[str], reason: str) -> dict[str, Json]:
    """Return null for all `keys`, and why."""
    return {**dict.fromkeys(keys), "reason": reason}


def target_errors(errors_mm: NDArray[np.float64], refused: int) -> dict[str, Json]:
    """Return the distribution of target registration errors (mm) at the landmarks of accepted transforms."""
    if errors_mm.size == 0:
        return {
            **absent(("median", "p95", "share_below_1mm"), "no accepted transform with a truth"),
            "refused": refused,
        }
    return {
        "median": float(np.median(errors_mm)),
        "p95": float(np.percentile(errors_mm, 95)),
        "share_below_1mm": float((errors_mm < 1).mean()),
        "landmarks": int(errors_mm.size),
        "refused": refused,
    }


def synthesis(registration: pd.DataFrame) -> dict[str, Json]:
    """Return the mean over knees of the image errors of the synthetic CT, with their standard deviations."""
    names = ["mae_hu", "psnr_db", "ssim"]
    good = registration[np.isfinite(registration[names].to_numpy(dtype=np.float64)).all(axis=1)]
    if good.empty:
        return absent(names, "no synthetic CT could be compared with its CT")
    knees = good.groupby(["participant", "side"], sort=True)[names].mean()
    spread = knees.std(ddof=1) if len(knees) > 1 else knees.iloc[0] * 0
    means = {name: float(knees[name].mean()) for name in names}
    return {**means, **{f"{name}_sd": float(spread[name]) for name in names}, "knees": len(knees)}


def synthesis_figures(table: pd.DataFrame) -> dict[str, Json]:
    """Return the means over knees of all figures of the synthetic CT, by part; SDs where there are several.

    `table` has a row a knee, part and figure.
    """
    known = table.dropna(subset=["value"])
    parts: dict[str, dict[str, Json]] = {}
    for (part, figure), values in known.groupby(["part", "figure"], sort=False)["value"]:
        mean: dict[str, Json] = {str(figure): float(values.mean())}
        spread: dict[str, Json] = {f"{figure}_sd": float(values.std(ddof=1))} if len(values) > 1 else {}
        parts[str(part)] = parts.get(str(part), {}) | mean | spread
    return {
        "knees": len(table[["participant", "side"]].drop_duplicates()),
        "patients": int(table["participant"].nunique()),
        "aligned_by": " and ".join(sorted(table["aligned_by"].unique())),
        "parts": parts,
    }


def regression(table: pd.DataFrame, seed: int) -> dict[str, Json]:
    """Return the agreement of each parameter with its reference; `table` as `pairs.with_reference`."""
    return {name: _parameter(table, name, seed) for name in PARAMETERS}


def absent_regression(reason: str) -> dict[str, Json]:
    """Return the shape of `regression` without values."""
    return {name: absent(AGREEMENT, reason) for name in PARAMETERS}


def comparison(tables: Mapping[str, pd.DataFrame], seed: int) -> dict[str, Json]:
    """Return the mean ICC over parameters of each model, and the gain of `distilled` over `baseline`.

    Where there is `school`, the reader that the student began at, also the gain over that.
    """
    means = {model: _mean(table, seed) for model, table in tables.items()}
    keys = ("delta_icc", "delta_icc_ci")
    if not {"distilled", "baseline"} <= set(tables):
        return {"mean_icc": means, **absent(keys, "both distilled and baseline are needed")}

    def delta(name: str, other: str) -> dict[str, Json]:
        both = common(tables["distilled"], tables[other], PARAMETERS)
        pairs = (patient_pairs_of(table, PARAMETERS) for table in both)
        return _interval(name, gain(*pairs, seed=seed, resamples=RESAMPLES))

    parts: list[Part] = [(keys, partial(delta, "delta_icc", "baseline"))]
    if "school" in tables:
        over_school = ("delta_icc_school", "delta_icc_school_ci")
        parts.append((over_school, partial(delta, "delta_icc_school", "school")))
    return {"mean_icc": means, **estimated(parts)}


def _mean(table: pd.DataFrame, seed: int) -> dict[str, Json]:
    return estimated(
        [
            (
                AGREEMENT,
                lambda: _interval(
                    "icc", mean_icc(patient_pairs_of(table, PARAMETERS), seed=seed, resamples=RESAMPLES)
                ),
            )
        ]
    )


def diagnosis(table: pd.DataFrame, seed: int) -> dict[str, Json]:
    """Return discrimination and calibration of one model; `table` has label, probability and participant."""
    labels = table["label"].to_numpy(dtype=np.int64)
    scores, patients = (
        table["probability"].to_numpy(dtype=np.float64),
        table["participant"].to_numpy(dtype=str),
    )

    def discrimination() -> dict[str, Json]:
        require_both_classes(labels, MIN_POSITIVES)
        return _interval("auc", auc_ci(labels, scores, patients))

    def bootstrap() -> dict[str, Json]:
        require_both_classes(labels, MIN_POSITIVES)
        found = bca(lambda rows: auc(labels[rows], scores[rows]), patients, seed=seed, resamples=RESAMPLES)
        return {"auc_ci_bootstrap": [found.low, found.high]}

    def recalibration() -> dict[str, Json]:
        found = calibration(labels, scores)
        return {"calibration_intercept": found.intercept, "calibration_slope": found.slope}

    counts: dict[str, Json] = {"positives": int(labels.sum()), "negatives": int((labels == 0).sum())}
    return counts | estimated(
        [
            (("auc", "auc_ci"), discrimination),
            (("auc_ci_bootstrap",), bootstrap),
            (("brier", "ece"), lambda: {"brier": brier(labels, scores), "ece": ece(labels, scores)}),
            (("calibration_intercept", "calibration_slope"), recalibration),
        ]
    )


def delong(table: pd.DataFrame, one: str = "distilled", other: str = "baseline") -> dict[str, Json]:
    """Return p and z of model `one` against the `other` on the knees of both.

    `table` has a row a knee and model.
    """

    def compute() -> dict[str, Json]:
        wide = table.pivot(
            index=["participant", "side", "label"], columns="model", values="probability"
        ).reset_index()
        missing = {one, other} - set(wide.columns)
        if missing:
            raise NotEstimableError(
                "model-absent", "no predictions of a model", got=", ".join(sorted(missing))
            )
        wide = wide.dropna(subset=[one, other])
        labels = wide["label"].to_numpy(dtype=np.int64)
        require_both_classes(labels, MIN_POSITIVES)
        found = delong_test(labels, wide[one], wide[other], wide["participant"].to_numpy(dtype=str))
        return {"delong_p": found.p, "delong_z": found.z, "delta_auc": found.auc_a - found.auc_b}

    return estimated([(("delong_p", "delong_z", "delta_auc"), compute)])


def diagnosis_variants(table: pd.DataFrame, seed: int) -> dict[str, Json]:
    """Return the figures of each source, input and classifier of table ``diagnosis_variants``.

    Each is also compared with logistic regression on the readings of the same source.
    """
    found: dict[str, dict[str, dict[str, Json]]] = {}
    for source, of_source in table.groupby("source", sort=False):
        named = of_source.assign(model=of_source["inputs"] + " " + of_source["classifier"])
        for (inputs, classifier, model), rows in named.groupby(["inputs", "classifier", "model"], sort=False):
            against = {} if model == PLAIN else delong(named, str(model), PLAIN)
            counts: dict[str, Json] = {"patients": int(rows["participant"].nunique())}
            one = counts | _joined(diagnosis(rows, seed), against)
            found.setdefault(str(source), {}).setdefault(str(inputs), {})[str(classifier)] = one
    return dict(found)


def _joined(one: Mapping[str, Json], other: Mapping[str, Json]) -> dict[str, Json]:
    """Return the figures of both, and the reasons of both."""
    reasons = dict.fromkeys(str(part["reason"]) for part in (one, other) if "reason" in part)
    return {**one, **other} | ({"reason": "; ".join(reasons)} if reasons else {})


def _parameter(table: pd.DataFrame, name: str, seed: int) -> dict[str, Json]:
    pairs = patient_pairs(table, name)
    method, reference = pairs.method, pairs.reference

    def linear() -> dict[str, Json]:
        found = line(method, reference)
        return {"r": found.r, "slope": found.slope}

    def regions() -> dict[str, Json]:
        return _interval("icc_region", pooled_icc(region_pairs(table, name), seed=seed, resamples=RESAMPLES))

    counts: dict[str, Json] = {"patients": int(pairs.patients.size), "patches": len(table)}
    return counts | estimated(
        [
            (AGREEMENT, lambda: _interval("icc", icc(method, reference))),
            (("icc_consistency",), lambda: {"icc_consistency": icc(method, reference, "C,1").value}),
            (("icc_region", "icc_region_ci"), regions),
            (("r", "slope"), linear),
            (("ccc",), lambda: {"ccc": ccc(method, reference).value}),
            (("bias", "mae", "rmse"), lambda: asdict(errors(method, reference))),
            (("bias_percent",), lambda: {"bias_percent": bias_percent(method, reference)}),
            (("cv_percent",), lambda: {"cv_percent": cv_percent(method, reference)}),
            (("bias_slope",), lambda: {"bias_slope": bias_slope(method, reference)}),
            (("limits_of_agreement",), lambda: _limits(pairs)),
        ]
    )


def _limits(pairs: Pairs) -> dict[str, Json]:
    found = bland_altman(pairs.method, pairs.reference)
    return {"limits_of_agreement": [found.low, found.high]}


def _interval(name: str, found: Estimate) -> dict[str, Json]:
    return {name: found.value, f"{name}_ci": [found.low, found.high]}
