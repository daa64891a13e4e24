"""From predicted bone parameters to a probability of osteoarthritis, always by patient."""

from srrd_ray.diagnosis.features import Features, PatchValues, knee_features
from srrd_ray.diagnosis.models import ALL, DiagnosisConfig, LinearModel, fit, out_of_fold
from srrd_ray.diagnosis.selection import LabelledKnees, Training
from srrd_ray.diagnosis.splits import patient_folds

__all__ = [
    "ALL",
    "DiagnosisConfig",
    "Features",
    "LabelledKnees",
    "LinearModel",
    "PatchValues",
    "Training",
    "fit",
    "knee_features",
    "out_of_fold",
    "patient_folds",
]
