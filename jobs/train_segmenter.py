"""Train the segmenter of bones on simulated knees; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/train_segmenter.py --out … --work …``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor, RayTrainer
from srrd_ray.core.errors import SrrdError, exit_code
from srrd_ray.pipeline.segmenter_training import SegmenterTraining, train_segmenter


def main() -> int:
    request = tyro.cli(SegmenterTraining, description=__doc__)
    try:
        folder = train_segmenter(
            request, RayExecutor(request.cluster).connect, RayTrainer(request.cluster).fit
        )
    except SrrdError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
