"""How far a student may go from the reader of CT that it begins at: pseudo-cohorts of knees of the school.

``python benchmarks/going_on.py WORK`` (the `--work` folder of a school): twelve of its held-out knees teach as a
cohort does, by the labels of the readers alone; the exact truth of the others judges. Once as they are, and once
with CT of a scanner that the school never saw: blurred by 0.8 pixels, a tenth less contrast, 20 HU darker.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from srrd_ray.core.learner import Shard
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.config import DistillationConfig, HyperParameters
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.networks import PatchRegressor
from srrd_ray.distillation.step import StudentLearner
from srrd_ray.pipeline.school import CubeFiles
from srrd_ray.stages.shared.fold_training import guided_part, with_school_networks
from srrd_ray.stages.shared.school_cubes import read_all_cubes
from srrd_ray.stages.shared.school_model import judge, load_reader, read_cubes, read_school

ALL = HyperParameters(feature_weight=0.3, relation_weight=1.0)
"""With the terms that are off by default since this was measured."""
HISTOGRAMS = HyperParameters(kd_weight=0.9, temperature=1.0, feature_weight=0.0, relation_weight=0.0)
"""Nearly all of the loss is the histogram of the labels, with their spread."""
WAYS: dict[str, tuple[float, HyperParameters]] = {
    "the reader itself": (0.0, ALL),
    **{f"{rate:g}": (rate, ALL) for rate in (1.0, 0.2, 0.05, 0.02)},
    "0.05, histograms alone": (0.05, HISTOGRAMS),
}
TAUGHT, DRAWS = 12, 2


def main() -> None:
    """Print a row for each scanner and rate: ICC(A,1) with the truth by parameter, and their mean."""
    school = read_school("").config
    files = CubeFiles(root=Path(sys.argv[1]), seed=school.seed)
    data = read_all_cubes([files.path(number) for number in range(school.held_out)])
    print("| CT | rate | " + " | ".join(PARAMETERS) + " | mean |\n|" + "---|" * (len(PARAMETERS) + 3))
    for name, shown in {"as the school's": data, "of another scanner": of_another_scanner(data)}.items():
        for way, (rate, hyper) in WAYS.items():
            found = np.mean([agreement(shown, rate, hyper, draw) for draw in range(DRAWS)], axis=0)
            cells = " | ".join(f"{value:.2f}" for value in (*found, found.mean()))
            print(f"| {name} | {way} | {cells} |", flush=True)


def of_another_scanner(data: DistillationData) -> DistillationData:
    """Return the cubes as a softer scanner shows them."""
    soft = 0.9 * ndimage.gaussian_filter(data.ct.astype(np.float32), (0, 0, 0.8, 0.8)) - 20
    return replace(data, ct=np.where(data.ct_mask > 0, soft, data.ct).round().astype(np.int16))


def agreement(data: DistillationData, rate: float, hyper: HyperParameters, draw: int) -> list[float]:
    """Return how a student of some of the knees agrees with the truth of the others, parameter by parameter."""
    knees = np.random.default_rng(draw).permutation(np.unique(data.patients))
    taught, others = (data.select_patients(set(part)) for part in (knees[:TAUGHT], knees[TAUGHT:]))
    network = go_on(taught, rate, hyper) if rate else load_reader("", "ct")
    found = judge(read_cubes(network, "ct", others), others)
    return [found[name].icc for name in PARAMETERS]


def go_on(taught: DistillationData, rate: float, hyper: HyperParameters) -> PatchRegressor:
    """Return a student that goes on from the reader, by labels of both readers; it sees no truth."""
    config = with_school_networks(DistillationConfig(start_rate=rate, hyper=hyper))
    part = guided_part(taught, load_reader("", "mr"), config)
    student = StudentLearner("student", part.data, config, 0, part.outputs, start=part.start)
    for epoch in range(student.epochs):
        student.train_epoch(epoch, Shard(), student.modules())
    return student.network


if __name__ == "__main__":
    main()
