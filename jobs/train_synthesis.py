"""Train the synthesis on simulated knees, before any cohort; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/train_synthesis.py --out … --work …``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor, RayTrainer
from srrd_ray.core.console import ended_with
from srrd_ray.pipeline.synthesis_training import SynthesisTraining, train_synthesis


def main(request: SynthesisTraining) -> int:
    folder = train_synthesis(request, RayExecutor(request.cluster), RayTrainer(request.cluster).fit)
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    given = tyro.cli(SynthesisTraining, description=__doc__)
    sys.exit(ended_with(lambda: main(given)))
