"""What a step of each training costs against its networks alone, and how busy a GPU is.

Run: ``python benchmarks/training.py examples/paper.yaml [--cubes 4096] [--steps 60]``; a minute or two.

For teacher, student (guided by a teacher), and CycleGAN of the settings: seconds a step as trained (batches, mirror images,
noise, losses, optimizer, checks), against forward and backward of the same networks on one fixed batch; cubes or slices a second;
seconds to the end of the first step. Cubes and slices are random: their values cost nothing. With a GPU also its busy share by
``nvidia-smi`` over the epoch, and for the CycleGAN the step against the arithmetic of its convolutions at the rate of a matrix
product of the same precision.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from srrd_ray.core.devices import fastest_device
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.distillation.config import DistillationConfig
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.inference import TeacherOutputs
from srrd_ray.distillation.losses import histogram_loss
from srrd_ray.distillation.step import StudentLearner, TeacherLearner
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.step import CycleGanLearner

REPEATS = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", type=Path, help="settings of a run (YAML)")
    parser.add_argument("--cubes", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=40, help="steps of the CycleGAN")
    parser.add_argument("--only", nargs="*", default=["teacher", "student", "cyclegan"])
    arguments = parser.parse_args()
    distillation, synthesis = read_settings(arguments.settings)
    made: dict[str, Callable[[], dict[str, float]]] = {
        "teacher": lambda: time_teacher(arguments.cubes, distillation),
        "student": lambda: time_student(arguments.cubes, distillation),
        "cyclegan": lambda: time_cyclegan(replace(synthesis, steps=arguments.steps)),
    }
    sys.stdout.write(f"{device_name()}\n")
    for name in arguments.only:
        sys.stdout.write(json.dumps({"training": name, **made[name]()}) + "\n")
        sys.stdout.flush()


def read_settings(path: Path) -> tuple[DistillationConfig, CycleGanConfig]:
    """Return the settings of the two trainings."""
    import yaml

    from srrd_ray.core.serial import from_mapping

    said = yaml.safe_load(path.read_text())
    return (
        from_mapping(DistillationConfig, said.get("distillation", {})),
        from_mapping(CycleGanConfig, said.get("synthesis", {})),
    )


def device_name() -> str:
    device = fastest_device()
    return (
        torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    )


def toy_cubes(count: int) -> DistillationData:
    """Return random cubes of the shapes that a run cuts."""
    rng = np.random.default_rng(0)
    ct = rng.normal(250, 150, (count, 16, 32, 32)).astype(np.int16)
    mr = rng.random((count, 56, 56, 16), dtype=np.float32).astype(np.float16)
    return DistillationData(
        ct=ct,
        ct_mask=np.ones(ct.shape, np.uint8),
        ct_spacing_mm=np.full((count, 3), 0.8, np.float32),
        mr=mr,
        mr_mask=np.ones(mr.shape, np.uint8),
        targets=(np.array([0.25, 0.2, 0.6, 1.2]) * rng.normal(1, 0.1, (count, 4))).astype(np.float32),
        patients=np.array([f"p{row // 24}" for row in range(count)]),
        regions=np.full(count, "R-femur-medial"),
    )


def toy_outputs(count: int, config: DistillationConfig) -> TeacherOutputs:
    """Return what a teacher of these settings might say of `count` cubes."""
    from srrd_ray.distillation.bins import BINS

    generator = torch.Generator().manual_seed(0)
    features = tuple(torch.randn(4, count, c, 4, 4, 4, generator=generator) for c in config.teacher.channels)
    return TeacherOutputs(
        logits=torch.randn(count, 4, BINS, generator=generator),
        features=features,
        halves=torch.rand(6, count, 4),
    )


def time_teacher(count: int, config: DistillationConfig) -> dict[str, float]:
    started = time.perf_counter()
    data = toy_cubes(count)
    learner = TeacherLearner("teacher", data, config, 0)
    images, masks = torch.from_numpy(data.mr)[:, None], torch.from_numpy(data.mr_mask)[:, None]
    return time_regressor(learner, learner.network, (images, masks), config.batch_size, started)


def time_student(count: int, config: DistillationConfig) -> dict[str, float]:
    started = time.perf_counter()
    data = toy_cubes(count)
    learner = StudentLearner("student", data, config, 0, toy_outputs(count, config))
    images, masks = torch.from_numpy(data.ct)[:, None], torch.from_numpy(data.ct_mask)[:, None]
    return time_regressor(learner, learner.network, (images, masks), config.batch_size, started)


def time_regressor(
    learner: Learner, network: nn.Module, cubes: tuple[torch.Tensor, torch.Tensor], batch: int, started: float
) -> dict[str, float]:
    device = fastest_device()
    wrapped = {name: module.to(device) for name, module in learner.modules().items()}
    learner.train_epoch(0, Shard(), wrapped)
    settled = time.perf_counter() - started
    with busy() as share:
        epochs = [clock(lambda e=e: learner.train_epoch(e, Shard(), wrapped)) for e in range(1, 4)]
    steps = -(-len(cubes[0]) // batch)
    image, mask = (t[:batch].to(device).float() for t in cubes)
    targets = torch.softmax(
        torch.randn(batch, 4, network(image, mask).logits.shape[-1], device=device), dim=-1
    )

    def bare() -> None:
        network.zero_grad(set_to_none=True)
        histogram_loss(network(image, mask).logits, targets).backward()

    bare()
    alone = min(clock(lambda: [bare() for _ in range(REPEATS)]) for _ in range(4)) / REPEATS
    step = min(epochs) / steps
    return {
        "batch": batch, "step_ms": 1e3 * step, "forward_backward_ms": 1e3 * alone, "ratio": step / alone,
        "cubes_per_s": batch / step, "first_epoch_s": settled, **share,
    }  # fmt: skip


def time_cyclegan(config: CycleGanConfig) -> dict[str, float]:
    rng = np.random.default_rng(0)
    mr, ct = (rng.normal(0, 0.4, (256, *config.tile)).astype(np.float32) for _ in range(2))
    device, started = fastest_device(), time.perf_counter()
    learner = CycleGanLearner(mr, ct, config, 0)
    wrapped = {name: module.to(device) for name, module in learner.modules().items()}
    first = replace(config, steps=1)
    CycleGanLearner(mr, ct, first, 0).train_epoch(0, Shard(), wrapped)
    settled = time.perf_counter() - started
    learner.train_epoch(0, Shard(), wrapped)
    with busy() as share:
        step = clock(lambda: learner.train_epoch(1, Shard(), wrapped)) / config.steps
    with FlopCounterMode(display=False) as counter:
        CycleGanLearner(mr, ct, first, 0).train_epoch(0, Shard(), wrapped)
    convolutions = sum(
        count for kind, count in counter.get_flop_counts()["Global"].items() if "conv" in str(kind)
    )
    least = convolutions / product_rate(device)
    return {
        "batch": config.batch, "step_ms": 1e3 * step, "convolutions_tflop": convolutions / 1e12,
        "arithmetic_ms": 1e3 * least, "ratio": step / least, "slices_per_s": config.batch / step,
        "first_step_s": settled, **share,
    }  # fmt: skip


def product_rate(device: torch.device) -> float:
    """Return floating-point operations a second of a large matrix product, in the precision of the convolutions."""
    size = 8192 if device.type == "cuda" else 1536
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    a @ b
    return 10 * 2 * size**3 / min(clock(lambda: [a @ b for _ in range(10)]) for _ in range(3))


def clock(work: Callable[[], object]) -> float:
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def busy() -> Iterator[dict[str, float]]:
    """Yield a dict that holds the GPU's mean busy share of the block after it; empty without a GPU."""
    share: dict[str, float] = {}
    if not torch.cuda.is_available():
        yield share
        return
    seen: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not ended.wait(0.25):
            seen.append(
                float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])
            )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield share
    finally:
        ended.set()
        watcher.join()
        share["busy"] = float(np.mean(seen)) / 100 if seen else float("nan")


if __name__ == "__main__":
    main()
