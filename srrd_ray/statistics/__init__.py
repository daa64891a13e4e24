"""Agreement, discrimination, calibration and their intervals. Raises `NotEstimableError` without a value."""

from srrd_ray.statistics.agreement import (
    BlandAltman,
    Errors,
    Line,
    bias_percent,
    bias_slope,
    bland_altman,
    ccc,
    cv_percent,
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
    "bias_percent",
    "bias_slope",
    "bland_altman",
    "brier",
    "calibration",
    "ccc",
    "cv_percent",
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
