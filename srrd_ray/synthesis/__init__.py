"""Synthetic CT from MR: an unpaired CycleGAN with structure terms: numerics."""
