"""From predicted bone parameters to a probability of osteoarthritis, always by patient."""

from srrd_ray.diagnosis.splits import patient_folds, refuse_leaks

__all__ = ["patient_folds", "refuse_leaks"]
