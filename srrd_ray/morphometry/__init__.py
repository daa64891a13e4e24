"""Exact trabecular morphometry: arrays in, numbers and maps out."""

from srrd_ray.morphometry.calibration import ct_bone, ct_bone_fraction
from srrd_ray.morphometry.maps import BoneMaps, bone_maps, region_measures
from srrd_ray.morphometry.marrow import mr_bone_fraction
from srrd_ray.morphometry.measures import BoneMeasures, measure, measure_maps
from srrd_ray.morphometry.plate import PlateThickness, plate_thickness
from srrd_ray.morphometry.resolve import MorphometryConfig, super_resolve
from srrd_ray.morphometry.thickness import local_thickness

__all__ = [
    "BoneMaps",
    "BoneMeasures",
    "MorphometryConfig",
    "PlateThickness",
    "bone_maps",
    "ct_bone",
    "ct_bone_fraction",
    "local_thickness",
    "measure",
    "measure_maps",
    "mr_bone_fraction",
    "plate_thickness",
    "region_measures",
    "super_resolve",
]
