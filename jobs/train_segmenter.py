"""Train the segmenter of bones on simulated knees; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/train_segmenter.py --out … --work …``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor, RayTrainer
from srrd_ray.core.console import ended_with
from srrd_ray.pipeline.segmenter_training import SegmenterTraining, train_segmenter


def main(request: SegmenterTraining) -> int:
    connect, fit = RayExecutor(request.cluster).connect, RayTrainer(request.cluster).fit
    sys.stdout.write(f"{train_segmenter(request, connect, fit)}\n")
    return 0


if __name__ == "__main__":
    given = tyro.cli(SegmenterTraining, description=__doc__)
    sys.exit(ended_with(lambda: main(given)))
