"""Exact trabecular morphometry: arrays in, numbers and maps out."""

from srrd_ray.morphometry.thickness import local_thickness

__all__ = ["local_thickness"]
