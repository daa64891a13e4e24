"""Slices of simulated knees whose MR and CT lie on each other: kept as files, learnt from, judged by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from torch import Tensor

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Learner
from srrd_ray.core.volume import Volume
from srrd_ray.simulation.paired_scans import simulate_paired_scans
from srrd_ray.stages.shared.aligned_model import SegmenterDistance, read_pair, write_pair
from srrd_ray.stages.shared.synthesis_card import GENERATOR
from srrd_ray.storage.weights import load_into
from srrd_ray.synthesis.aligned import AlignedLearner
from srrd_ray.synthesis.alignment import FAR_MM, AlignedCt
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.contrast import Features, SeenContrasts, contrast, crops, gather_contrasts
from srrd_ray.synthesis.fidelity import compare_images
from srrd_ray.synthesis.inference import translate
from srrd_ray.synthesis.networks import Generator
from srrd_ray.synthesis.pairs import AlignedPair, make_pair_in_place
from srrd_ray.synthesis.slices import unscale_hu

MOST_IN_MEMORY = 256
"""Files of slices (a few MB each) that a worker keeps."""
JUDGED = ("mae_hu", "psnr_db", "ssim")


def write_paired_slices(folder: Path, number: int, seed: int, config: CycleGanConfig) -> tuple[Path, ...]:
    """Return the files of a knee, one a sequence, named after it."""
    return tuple(
        write_pair(
            folder / f"{scan.sequence}.safetensors", make_pair_in_place(scan.mr, scan.ct, scan.bones, config)
        )
        for scan in simulate_paired_scans(number, seed)
    )


def paired_learners(
    files: Sequence[Path], config: CycleGanConfig, aligned: AlignedConfig, *, segmenter: str, seed: int
) -> Iterator[Learner]:
    """Yield the one learner of a synthesis that has seen nothing yet."""
    spacing = (config.pixel_mm, config.pixel_mm, config.slice_mm)
    features = SegmenterDistance(segmenter, spacing) if aligned.feature_weight > 0 else None
    read = lru_cache(maxsize=MOST_IN_MEMORY)(partial(_pair_of, tuple(files)))
    yield AlignedLearner(read, len(files), None, config, aligned, seed=seed, features=features)


def _pair_of(files: tuple[Path, ...], number: int) -> AlignedPair:
    return read_pair(files[number])


def contrasts_of(files: Sequence[Path], seed: int) -> SeenContrasts:
    """Return the contrasts of the MRs in these files, whose folders are the knees."""
    rows: dict[str, list[Features]] = defaultdict(list)
    for path in files:
        rng = np.random.default_rng(seed_from(seed, "contrasts", path.parent.name, path.stem))
        rows[path.parent.name] += [contrast(part) for part in crops(read_pair(path).mr, rng)]
    return gather_contrasts(rows)


def judge_slices(
    weights: Mapping[str, Tensor], config: CycleGanConfig, files: Sequence[Path]
) -> dict[str, dict[str, float]]:
    """Return figures of the synthetic CT by sequence, means over knees: ``body mae_hu`` and the like."""
    generator = Generator(config)
    load_into(generator, weights, GENERATOR)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in files:
        pair = read_pair(path)
        made = unscale_hu(translate(generator, pair.mr, config))
        hu = np.where(pair.weight > 0, pair.hu, np.float32(np.nan)).astype(np.float32)
        steps = (config.slice_mm, config.pixel_mm, config.pixel_mm)
        real = AlignedCt(
            hu=Volume(array=hu, geometry=Geometry.axis_aligned(hu.shape, steps)),
            labels=pair.bone.astype(np.uint8),
            outside_mm=np.full(hu.shape, FAR_MM, dtype=np.float32),
        )
        for part, figure, value in compare_images(real, made):
            if figure in JUDGED:
                found[path.stem][f"{part} {figure}"].append(value)
    return {
        name: {key: float(np.mean(values)) for key, values in sorted(figures.items())}
        for name, figures in sorted(found.items())
    }
