"""Cubes whose four parameters are functions of the wavelength and amplitude of a wave, seen sharply by MR and poorly by CT."""

from __future__ import annotations

import numpy as np

from srrd_ray.distillation.config import DistillationConfig, HyperParameters, NetworkConfig
from srrd_ray.distillation.data import DistillationData

SMALL = DistillationConfig(
    labels="measured",
    teacher_epochs=3,
    student_epochs=3,
    batch_size=16,
    teacher=NetworkConfig(input="mr", width=4),
    student=NetworkConfig(input="ct", width=4),
    hyper=HyperParameters(lr=5e-3, feature_weight=0.3, relation_weight=1.0),
)


def waves(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], number: float, phase: float
) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    return np.asarray(np.sin(2 * np.pi * number * (0.5 * z + 0.7 * y + 0.3 * x) + phase))


def toy(count: int, *, seed: int = 0, ct_noise: float = 150.0, mr_noise: float = 0.05) -> DistillationData:
    """Return `count` small cubes: BV/TV is the height of the wave's mean, Tb.N its frequency."""
    rng = np.random.default_rng(seed)
    targets, ct, mr = [], [], []
    for _ in range(count):
        fraction, number = rng.uniform(0.12, 0.40), rng.uniform(0.5, 1.1)
        phase = rng.uniform(0, 2 * np.pi)
        coarse = waves((8, 16, 16), (0.8, 0.4, 0.4), number, phase)
        fine = waves((28, 28, 16), (0.21875, 0.21875, 0.75), number, phase)
        gain = rng.normal(1, 0.15)
        ct.append(1500 * gain * fraction * (1 + 0.5 * coarse) + ct_noise * rng.standard_normal(coarse.shape))
        mr.append(fraction * (1 + fine) + mr_noise * rng.standard_normal(fine.shape))
        targets.append([fraction, fraction / number, (1 - fraction) / number, number])
    images, signals = np.array(ct).astype(np.int16), np.array(mr).astype(np.float16)
    return DistillationData(
        ct=images,
        ct_mask=np.ones(images.shape, dtype=np.uint8),
        ct_spacing_mm=np.tile(np.array([[0.8, 0.4, 0.4]], dtype=np.float32), (count, 1)),
        mr=signals,
        mr_mask=np.ones(signals.shape, dtype=np.uint8),
        targets=np.array(targets, dtype=np.float32),
        patients=np.array([f"p{i // 8}" for i in range(count)]),
        regions=np.array([f"R-femur-{('medial', 'lateral')[i % 2]}" for i in range(count)]),
    )
