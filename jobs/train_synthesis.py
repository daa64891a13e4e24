"""Train the synthesis on simulated knees, before any cohort; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/train_synthesis.py --out … --work …``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor, RayTrainer
from srrd_ray.core.errors import SrrdError, exit_code
from srrd_ray.pipeline.synthesis_training import SynthesisTraining, train_synthesis


def main() -> int:
    request = tyro.cli(SynthesisTraining, description=__doc__)
    try:
        folder = train_synthesis(request, RayExecutor(request.cluster), RayTrainer(request.cluster).fit)
    except SrrdError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
