"""Let readers of MR and CT learn on simulated knees; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/school.py --out … --work …``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor, RayTrainer
from srrd_ray.core.errors import SrrdError, exit_code
from srrd_ray.pipeline.school import SchoolRequest, hold_school


def main() -> int:
    request = tyro.cli(SchoolRequest, description=__doc__)
    try:
        folder = hold_school(request, RayExecutor(request.cluster), RayTrainer(request.cluster).fit)
    except SrrdError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
