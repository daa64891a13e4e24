"""Features of the cubes of a training set, CT or MR, by which a scan from another distribution is flagged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from srrd_ray.distillation.config import CT_LAGS, MR_LAGS
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.texture import texture

FLAG_AT = 4.0
"""A scan is flagged where one feature lies further than this from the training mean, in training SDs."""

_AXES = ("si", "ap", "ml")
_ALONG = dict(zip(_AXES, ("head to foot", "front to back", "side to side"), strict=True))
NAMES = (
    "mean_hu",
    "log_sd",
    "skewness",
    *(f"log_variogram_{_AXES[axis]}_{lag}" for axis, lag in CT_LAGS),
    "log_voxel_si",
    "log_voxel_ap",
    "log_voxel_ml",
)
MR_NAMES = (
    "mean_fraction",
    "log_sd",
    "skewness",
    *(f"log_variogram_{_AXES[axis]}_{lag}" for axis, lag in MR_LAGS),
)
"""Of MR as bone fraction: gain and coil profile cancel, contrast and resolution do not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Mean and SD of each feature over training cubes (`names`, in order)."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    cubes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Distance:
    """How far a scan lies from the training set:
    the largest feature distance (SDs), and which features exceed `FLAG_AT`, by name and in words.
    """

    largest: float
    flagged: bool
    reasons: tuple[str, ...]
    features: tuple[str, ...] = ()


def features(
    ct: NDArray[np.int16], mask: NDArray[np.uint8], spacing_mm: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the features (n, len(NAMES)) of CT cubes (HU) and of the voxels (n, 3) they were cut from."""
    images, masks = (torch.from_numpy(np.ascontiguousarray(a)).float()[:, None] for a in (ct, mask))
    with torch.no_grad():
        statistics = texture(images, masks, CT_LAGS).double().numpy()
    return np.concatenate([statistics, np.log(spacing_mm.astype(np.float64))], axis=1)


def fit_fingerprint(
    ct: NDArray[np.int16], mask: NDArray[np.uint8], spacing_mm: NDArray[np.float32]
) -> Fingerprint:
    """Return the fingerprint of training cubes. An SD is at least 0.05:
    5 % of a voxel size or of a spread never flags.
    """
    return _fit(NAMES, features(ct, mask, spacing_mm))


def mr_features(mr: NDArray[np.float16], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the features (n, len(MR_NAMES)) of MR cubes (bone fraction)."""
    images, masks = (torch.from_numpy(np.ascontiguousarray(a)).float()[:, None] for a in (mr, mask))
    with torch.no_grad():
        return np.asarray(texture(images, masks, MR_LAGS).double().numpy())


def fit_mr_fingerprint(mr: NDArray[np.float16], mask: NDArray[np.uint8]) -> Fingerprint:
    """Return the fingerprint of the MR of training cubes."""
    return _fit(MR_NAMES, mr_features(mr, mask))


def mr_distances(fingerprint: Fingerprint, data: DistillationData) -> dict[tuple[str, str], Distance]:
    """Return how far the MR of each knee (patient, side) lies from the training cubes."""
    values = mr_features(data.mr, data.mr_mask)
    knees = [(str(p), str(r)[0]) for p, r in zip(data.patients, data.regions, strict=True)]
    rows: dict[tuple[str, str], list[int]] = {}
    for row, knee in enumerate(knees):
        rows.setdefault(knee, []).append(row)
    return {knee: _distance(fingerprint, values[of_knee]) for knee, of_knee in sorted(rows.items())}


def _fit(names: tuple[str, ...], values: NDArray[np.float64]) -> Fingerprint:
    sd = np.maximum(values.std(axis=0), 0.05)
    return Fingerprint(
        names=names, mean=tuple(values.mean(axis=0).tolist()), sd=tuple(sd.tolist()), cubes=len(values)
    )


def fingerprint_distance(
    fingerprint: Fingerprint, ct: NDArray[np.int16], mask: NDArray[np.uint8], spacing_mm: NDArray[np.float32]
) -> Distance:
    """Return how far the mean cube of a scan lies from the training cubes, feature by feature."""
    return _distance(fingerprint, features(ct, mask, spacing_mm))


def _distance(fingerprint: Fingerprint, cubes: NDArray[np.float64]) -> Distance:
    values = cubes.mean(axis=0)
    scores = (values - np.array(fingerprint.mean)) / np.array(fingerprint.sd)
    far = {
        name: _describe(name, value, mean, sd)
        for name, value, score, mean, sd in zip(
            fingerprint.names, values, scores, fingerprint.mean, fingerprint.sd, strict=True
        )
        if not abs(score) <= FLAG_AT
    }
    largest = float(np.abs(scores).max())
    return Distance(largest=largest, flagged=bool(far), reasons=tuple(far.values()), features=tuple(far))


def count_unlike(
    fingerprint: Fingerprint, ct: NDArray[np.int16], mask: NDArray[np.uint8], spacing_mm: NDArray[np.float32]
) -> int:
    """Return how many single cubes have a feature of their voxels beyond `FLAG_AT`, whatever their size."""
    of_voxels = [not name.startswith("log_voxel") for name in fingerprint.names]
    scores = (features(ct, mask, spacing_mm) - np.array(fingerprint.mean)) / np.array(fingerprint.sd)
    return int((~(np.abs(scores[:, of_voxels]) <= FLAG_AT)).any(axis=1).sum())


def _describe(name: str, value: float, mean: float, sd: float) -> str:
    """Return one feature as text for the page:
    logarithms undone, with the range of 2 SD around the training mean.
    """
    ends = np.array([mean - 2 * sd, mean + 2 * sd])
    if name.startswith("log_"):
        name, value, ends = name.removeprefix("log_"), float(np.exp(value)), np.exp(ends)
    unit = " mm" if name.startswith("voxel") else ""
    for axis, words in _ALONG.items():
        name = name.replace(f"_{axis}", f" {words}")
    return (
        f"{name.replace('_', ' ')}: {value:.3g}{unit}, training images {ends[0]:.3g} to {ends[1]:.3g}{unit}"
    )
