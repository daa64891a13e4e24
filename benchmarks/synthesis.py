"""What a step of the synthesis costs beside the convolutions in it, and what a knee costs.

``python benchmarks/synthesis.py [--steps 5] [--mr 640 640 150]``: steps of round one and of round two on random slices, with the defaults;
beside each the time of its convolutions alone: every convolution of a step, with its shapes, forward and backward, one after the other.
Then the translation of an MR of that many voxels (0.22 × 0.22 × 0.75 mm), and of the demo's, by the network that ships. Set OMP_NUM_THREADS to say with how
many threads.

``python benchmarks/synthesis.py --model FOLDER --pictures OUT MR …``: what a trained synthesis makes of these MRs, without any training on them: pictures of
sagittal slices to be looked at, and what is noted of each.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor, nn

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.stages.shared.aligned_model import SegmenterDistance
from srrd_ray.stages.shared.invention_notes import note_inventions
from srrd_ray.stages.shared.synthesis_card import SHIPPED, begun
from srrd_ray.stages.shared.synthesis_model import load_model
from srrd_ray.synthesis.aligned import AlignedLearner
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.inference import synthesize
from srrd_ray.synthesis.networks import Generator
from srrd_ray.synthesis.pairs import AlignedPair
from srrd_ray.synthesis.step import CycleGanLearner

mpl.use("Agg")
from matplotlib import pyplot as plt

DEMO_MR = (240, 380, 48)
SLICES = 6
Call = tuple[nn.Module, tuple[int, ...], bool]


def seconds_of(work: Callable[[], object], times: int = 1) -> float:
    """Return the CPU seconds of one call, the mean of `times`."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


@contextmanager
def recorded(learner: Learner, others: list[nn.Module]) -> Iterator[Counter[Call]]:
    """Yield a count of the convolutions that are called: each layer with the shape of its input."""
    calls: Counter[Call] = Counter()

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        calls[layer, tuple(inputs[0].shape), torch.is_grad_enabled()] += 1

    networks = [*learner.modules().values(), *others]
    layers = [m for n in networks for m in n.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    yield calls
    for hook in hooks:
        hook.remove()


def convolutions_alone(calls: Counter[Call], repeats: int) -> float:
    """Return the seconds of all these convolutions, forward and (where it is recorded) backward."""
    total = 0.0
    for (layer, shape, learns), count in calls.items():
        layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
        image = torch.randn(shape).contiguous(memory_format=layout).requires_grad_(learns)

        def once(layer: nn.Module = layer, image: Tensor = image, *, learns: bool = learns) -> None:
            with torch.set_grad_enabled(learns):
                made = layer(image)
            if learns:
                made.backward(torch.ones_like(made))

        once()
        total += count * seconds_of(once, repeats)
    return total


def compare(name: str, learner: Learner, steps: int, others: list[nn.Module] | None = None) -> None:
    """Print the seconds of a step of a learner of `steps` steps an epoch, and those of its convolutions alone."""
    learner.train_epoch(0, Shard(), learner.modules())
    took = seconds_of(lambda: learner.train_epoch(1, Shard(), learner.modules())) / steps
    with recorded(learner, others or []) as calls:
        learner.train_epoch(2, Shard(), learner.modules())
    alone = convolutions_alone(Counter({call: count / steps for call, count in calls.items()}), 3)  # type: ignore[arg-type]
    print(
        f"{name}: {took * 1000:.0f} ms a step, convolutions alone {alone * 1000:.0f} ms, ratio {took / alone:.2f}"
    )


def round_one(steps: int) -> None:
    """Compare a step of the CycleGAN."""
    config = replace(CycleGanConfig(), start="random", steps=steps, epochs=3)
    rng = np.random.default_rng(0)
    slices = [rng.normal(0, 0.4, (64, *config.tile)).astype(np.float32) for _ in range(2)]
    compare("round one", CycleGanLearner(slices[0], slices[1], config, 1), steps)


def round_two(steps: int) -> None:
    """Compare a step of round two."""
    config, aligned = begun(CycleGanConfig())[0], AlignedConfig(steps=steps, epochs=3)
    rng = np.random.default_rng(0)
    mr = rng.uniform(-1, 1, (24, 80, 64)).astype(np.float32)
    pair = AlignedPair(mr=mr, hu=300 * mr, weight=np.ones_like(mr), bone=mr > 0)
    distance = SegmenterDistance("", (config.pixel_mm, config.pixel_mm, config.slice_mm))
    start = Generator(config).state_dict()
    learner = AlignedLearner(lambda _: pair, 1, start, config, aligned, seed=1, features=distance)
    compare("round two", learner, steps, [distance])


def knee(shape: tuple[int, ...], model: Path) -> None:
    """Print the CPU seconds of the translation of an MR (x, y, z) of so many voxels."""
    x, y, z = shape
    rng = np.random.default_rng(0)
    grid = Geometry.axis_aligned((z, y, x), (0.75, 0.22, 0.22))
    mr = Volume(array=rng.uniform(50, 60, grid.shape).astype(np.float32), geometry=grid)
    generator, config = load_model(model)
    start = time.process_time()
    synthesize(generator, mr, replace(config, bone_share=(0.0, 1.0), hu_limits=(-1024.0, 32767.0)))
    print(f"MR of {x} x {y} x {z} voxels: {time.process_time() - start:.1f} CPU s")


def picture(path: Path, model: Path, out: Path) -> None:
    """Draw slices of an MR over those of its synthetic CT, and print what is noted of it."""
    mr = read_image(path, modality="mr").volume
    generator, config = load_model(model)
    start = time.process_time()
    sct = synthesize(generator, mr, config, limits=replace(config, bone_share=(0.0, 1.0)))
    print(f"{path.name}: {time.process_time() - start:.1f} CPU s")
    try:
        notes = note_inventions(mr, sct, model, config, BoneConfig())
    except InputError as refusal:
        notes = (str(refusal),)
    print("\n".join(f"    {line}" for line in notes))
    rows = [np.moveaxis(volume.in_lps_order(), 2, 0) for volume in (mr, sct)]  # sagittal, head at the top
    up, back = (mr.geometry.lps_order().spacing_mm[axis] for axis in (0, 1))
    limits = ((0.0, float(np.percentile(rows[0], 99.5))), (-200.0, 1200.0))
    picks = np.linspace(0.15, 0.85, SLICES) * (len(rows[0]) - 1)
    figure, panels = plt.subplots(2, SLICES, figsize=(4 * SLICES, 9), facecolor="black", layout="tight")
    for line, slices, (low, high) in zip(panels, rows, limits, strict=True):
        for panel, pick in zip(line, picks.round().astype(int), strict=True):
            panel.imshow(slices[pick], cmap="gray", vmin=low, vmax=high, origin="lower", aspect=up / back)
            panel.axis("off")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{path.name.partition('.')[0]}.png", dpi=60)
    plt.close(figure)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--mr", type=int, nargs=3, default=[640, 640, 150])
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--pictures", type=Path, nargs="+", help="folder of the pictures, and MRs")
    asked = parser.parse_args()
    if asked.pictures:
        out, *images = asked.pictures
        for image in images:
            picture(image, asked.model, out)
        return
    print(f"{torch.get_num_threads()} threads")
    round_one(asked.steps)
    round_two(asked.steps)
    knee(DEMO_MR, asked.model)
    knee(tuple(asked.mr), asked.model)


if __name__ == "__main__":
    main()
