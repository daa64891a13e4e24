"""Knees of which one feature, and one parameter of the medial cubes, tells the classes apart."""

from __future__ import annotations

import numpy as np

from srrd_ray.diagnosis import Training


def knees(n: int, effect: float, seed: int = 0) -> Training:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    values = rng.normal(size=(n, 3)) * [1, 10, 0.1] + effect * labels[:, None] * [1, 0, 0]
    cubes = []
    for label in labels:
        one = rng.normal(size=(int(rng.integers(4, 9)), 3))
        one[:, 2] = np.where(np.arange(len(one)) % 2, 1, -1)
        one[:, 0] += effect * label * (one[:, 2] > 0)
        cubes.append(one)
    patients = tuple(f"p{i}" for i in range(n))
    return Training(values=values, labels=labels, patients=patients, cubes=tuple(cubes))
