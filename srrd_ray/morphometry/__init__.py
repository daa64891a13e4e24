"""Exact trabecular morphometry: arrays in, numbers and maps out."""

from srrd_ray.morphometry.maps import BoneMaps, bone_maps, region_measures
from srrd_ray.morphometry.measures import BoneMeasures, measure, measure_maps
from srrd_ray.morphometry.thickness import local_thickness

__all__ = ["BoneMaps", "BoneMeasures", "bone_maps", "local_thickness", "measure", "measure_maps", "region_measures"]
