"""Bones of the knee in CT and in MR of any contrast: a small network trained on simulated knees: numerics."""
