"""Error of the mean local thickness by the voxel definition, from a grey image, and from a smoothed mask.

Run: ``PYTHONPATH=. python benchmarks/subvoxel.py``.
RMS over four positions of each shape on the grid, in voxels.
"""

from __future__ import annotations

import numpy as np

from srrd_ray.morphometry import local_thickness
from tests.morphometry.test_subvoxel import SHIFTS, depth, grey_of

SHAPES = {"rod": (4, 5, 8, 12), "sphere": (4, 5, 8, 12), "shell": (4, 5, 7), "plate": (5, 7)}


def errors(shape: str, size: int) -> list[float]:
    rows = []
    for shift in (0.5,) if shape == "plate" else SHIFTS:
        grey = grey_of(depth(shape, size, shift))
        mask = grey > 0
        maps = (
            local_thickness(mask, 1.0),
            local_thickness(mask, 1.0, surface="subvoxel", grey=grey),
            local_thickness(mask, 1.0, surface="subvoxel"),
        )
        rows.append([m[mask].mean() - size for m in maps])
    return list(np.sqrt((np.array(rows) ** 2).mean(axis=0)))


def main() -> None:
    print("| shape | voxels | voxel definition | grey image | smoothed mask |\n|---|---|---|---|---|")
    for shape, sizes in SHAPES.items():
        for size in sizes:
            print(
                f"| {shape} | {size} | " + " | ".join(f"{e:.2f}" for e in errors(shape, size)) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
