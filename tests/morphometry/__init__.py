"""Tests of `srrd_ray.morphometry`, with the slow twins and the shapes they share."""
