"""Agreement, discrimination, calibration and their intervals; a quantity without a value raises `NotEstimableError`."""

from srrd_ray.statistics.agreement import BlandAltman, Errors, bland_altman, ccc, errors, icc, icc_value
from srrd_ray.statistics.bootstrap import bca, delta_icc, patient_resamples
from srrd_ray.statistics.calibration import Calibration, brier, calibration, ece, reliability
from srrd_ray.statistics.estimate import Estimate
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
    "patient_resamples",
    "reliability",
    "require_both_classes",
    "roc_band",
    "roc_points",
]
