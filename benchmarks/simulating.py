"""CPU seconds and peak memory of one simulated knee, images, truth and files included.

Run: ``OMP_NUM_THREADS=1 python benchmarks/simulating.py [paper|quick] [--number 0]`` (the knee of that number
of the default plan, seed 2026); twice, as the first time compiles.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from srrd_ray.pipeline.simulated_cohort import KNEES
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.stages.simulate import simulate_knee


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", choices=tuple(KNEES), nargs="?", default="paper")
    parser.add_argument("--number", type=int, default=0)
    given = parser.parse_args()
    plan = simulate_cohort_plan(KNEES[given.profile], 2026, given.profile)[given.number]
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        simulate_knee(plan, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took, spent = time.perf_counter() - start, time.process_time() - cpu
    print(f"{given.profile} {plan.knee.key}: {spent:.0f} s of CPU, {took:.0f} s, {peak:.2f} GiB at most")


if __name__ == "__main__":
    main()
