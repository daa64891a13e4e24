"""From predicted bone parameters to a probability of osteoarthritis, always by patient."""

from srrd_ray.diagnosis.features import Features, PatchValues, knee_features
from srrd_ray.diagnosis.models import ALL, DiagnosisConfig, LinearModel, Training, fit, out_of_fold
from srrd_ray.diagnosis.splits import patient_folds

__all__ = [
    "ALL",
    "DiagnosisConfig",
    "Features",
    "LinearModel",
    "PatchValues",
    "Training",
    "fit",
    "knee_features",
    "out_of_fold",
    "patient_folds",
]
