"""Agreement, discrimination, calibration and their intervals; a quantity without a value raises `NotEstimableError`."""

from srrd_ray.statistics.agreement import (
    BlandAltman,
    Errors,
    Line,
    bland_altman,
    ccc,
    errors,
    icc,
    icc_value,
    line,
)
from srrd_ray.statistics.bootstrap import bca, delta_icc, patient_resamples
from srrd_ray.statistics.calibration import Calibration, brier, calibration, ece, reliability
from srrd_ray.statistics.estimate import Estimate
from srrd_ray.statistics.logistic import logistic
from srrd_ray.statistics.roc import (
    MIN_POSITIVES,
    DeLong,
    auc,
    auc_ci,
    delong_test,
    require_both_classes,
    roc_band,
    roc_points,
)

__all__ = [
    "MIN_POSITIVES",
    "BlandAltman",
    "Calibration",
    "DeLong",
    "Errors",
    "Estimate",
    "Line",
    "auc",
    "auc_ci",
    "bca",
    "bland_altman",
    "brier",
    "calibration",
    "ccc",
    "delong_test",
    "delta_icc",
    "ece",
    "errors",
    "icc",
    "icc_value",
    "line",
    "logistic",
    "patient_resamples",
    "reliability",
    "require_both_classes",
    "roc_band",
    "roc_points",
]
