"""Bones found in CT, and their rigid alignment between CT and MR: numerics."""
