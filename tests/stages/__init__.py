"""Tests of `srrd_ray.stages`: one knee, records in, records out."""
