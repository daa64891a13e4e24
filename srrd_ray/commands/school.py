"""Command that lets readers of MR and of CT learn on simulated knees."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from srrd_ray.storage.paths import parse_path


def school(
    out: tyro.conf.Positional[Path],
    /,
    *,
    work: Path,
    knees: int = 400,
    held_out: int = 60,
    seed: int = 7,
    epochs: int = 60,
    cpus: int = 0,
    workers: int = 1,
) -> int:
    """Let a reader of MR and a reader of CT learn on simulated knees that are nobody's of any cohort.

    The same command again goes on where it stopped; with more knees it makes those that are missing.
    A run learns from the readers with distillation.labels: reader and distillation.school: OUT.

    Args:
        out: folder of the readers and of school.json, which says how well they read knees they never saw.
        work: folder that every node sees, for cubes (2 MB a knee) and checkpoints; kept.
        knees: how many knees the readers learn from, 13 CPU seconds each.
        held_out: how many more judge them.
        seed: another seed has other people.
        epochs: passes of each reader over the cubes.
        cpus: CPUs of the local cluster; 0 takes all.
        workers: training processes.
    """
    from dataclasses import replace

    from srrd_ray.cluster.executor import RayExecutor, RayTrainer
    from srrd_ray.distillation.config import SchoolConfig
    from srrd_ray.execution.config import ClusterConfig
    from srrd_ray.pipeline.school import SchoolRequest, hold_school

    usual = SchoolConfig()
    readers = replace(usual.readers, teacher_epochs=epochs, student_epochs=epochs)
    cluster = ClusterConfig(cpus=cpus, training_workers=workers)
    request = SchoolRequest(
        out=parse_path(out),
        work=parse_path(work),
        school=SchoolConfig(knees=knees, held_out=held_out, seed=seed, readers=readers),
        cluster=cluster,
    )
    folder = hold_school(request, RayExecutor(cluster), RayTrainer(cluster).fit)
    sys.stdout.write(f"{folder}\n")
    return 0
