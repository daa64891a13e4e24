"""The product of the school on disk: two readers, and a card that says how well they read unseen knees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol
from srrd_ray.distillation.config import SchoolConfig
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.fingerprint import Fingerprint, fit_fingerprint, fit_mr_fingerprint
from srrd_ray.distillation.inference import predict
from srrd_ray.distillation.networks import PatchRegressor, build
from srrd_ray.distillation.together import Readings, Together, fit_together, read_together
from srrd_ray.simulation.frozen import COHORT, school_sha256
from srrd_ray.stages.shared.models import ModelName, StoredFold, load_model, load_trained, store_model
from srrd_ray.stages.shared.school_cubes import read_all_cubes
from srrd_ray.stages.shared.school_expected import write_reader_expected
from srrd_ray.stages.shared.school_files import CARD, require_school
from srrd_ray.statistics import icc
from srrd_ray.storage.record_files import read_record, write_record

Input: TypeAlias = Literal["mr", "ct"]
READERS: Final[Mapping[Input, ModelName]] = MappingProxyType({"mr": "reader-mr", "ct": "reader-ct"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How a reader agrees with the truth of one parameter, over the means of held-out knees."""

    icc: float
    low: float
    high: float
    r: float
    bias: float
    rmse: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SchoolCard:
    """``school.json``: what the readers saw, and how well they read knees that they never saw.

    `figures` are of each reader, and of both `together`, fitted on one half of those knees and judged by the
    other; `together` itself is fitted on all of them.
    """

    config: SchoolConfig
    simulator: str
    constants_sha256: str
    knees: int
    cubes: int
    judged_by: int
    figures: dict[str, dict[str, Agreement]]
    together: dict[ParameterSymbol, Together]
    use: str = (
        "Learnt from simulated knees alone: no real image, no real bone. For research; how it reads a real "
        "scanner's images is not known."
    )


def save_school(
    folder: Path, config: SchoolConfig, weights: Path, shards: tuple[Sequence[Path], Sequence[Path]]
) -> Path:
    """Return `folder` with the readers and their card.

    Parameters
    ----------
    weights
        The folder of trained weights.
    shards
        Cubes of the knees that were learnt from, and of those that judge.
    """
    taught, judging = (read_all_cubes(paths) for paths in shards)
    figures: dict[str, dict[str, Agreement]] = {}
    read: dict[Input, Readings] = {}
    for kind, name in READERS.items():
        network = _trained(config, kind, weights / f"{name}.safetensors")
        read[kind] = read_cubes(network, kind, judging)
        figures[name] = judge(read[kind], judging)
        fold = StoredFold(
            fold=0, network=network, hyper=config.readers.hyper, fingerprint=_fingerprint(kind, taught),
            patients=np.unique(taught.patients).size,
        )  # fmt: skip
        store_model(folder / kind, name, config.readers, [fold])
    write_reader_expected(folder / "ct", read["ct"], (taught, judging), config.seed)
    card = SchoolCard(
        config=config,
        simulator=COHORT,
        constants_sha256=school_sha256(),
        knees=np.unique(taught.patients).size,
        cubes=len(taught),
        judged_by=np.unique(judging.patients).size,
        figures=figures | {"together": judge(_cross_fitted(read, judging), judging)},
        together=fit_together(read["mr"], read["ct"], judging.targets),
    )
    write_record(folder / CARD, card, "school")
    return folder


def _cross_fitted(read: Mapping[Input, Readings], data: DistillationData) -> Readings:
    """Return what both readers say together of the knees of each half, fitted on those of the other."""
    odd = np.unique(data.patients, return_inverse=True)[1] % 2 == 1
    values = np.empty_like(data.targets)
    for part in (odd, ~odd):
        fitted = fit_together(read["mr"][~part], read["ct"][~part], data.targets[~part])
        values[part] = read_together(fitted, read["mr"][part], read["ct"][part])
    return values


def _fingerprint(kind: Input, data: DistillationData) -> Fingerprint:
    if kind == "mr":
        return fit_mr_fingerprint(data.mr, data.mr_mask)
    return fit_fingerprint(data.ct, data.ct_mask, data.ct_spacing_mm)


def read_cubes(network: PatchRegressor, kind: Input, data: DistillationData) -> Readings:
    """Return what a reader reads in the cubes of `data`."""
    images, masks = (data.mr, data.mr_mask) if kind == "mr" else (data.ct, data.ct_mask)
    return predict(network.eval(), images, masks)[0]


def judge(read: Readings, data: DistillationData) -> dict[str, Agreement]:
    """Return how readings agree with the truth, parameter by parameter, over the means of knees."""
    knees, row = np.unique(data.patients, return_inverse=True)
    count = np.bincount(row, minlength=len(knees))
    means = [
        np.stack([np.bincount(row, values[:, p]) / count for p in range(len(PARAMETERS))])
        for values in (read, data.targets)
    ]
    return {name: _agreement(means[0][p], means[1][p]) for p, name in enumerate(PARAMETERS)}


def _agreement(read: NDArray[np.float64], truth: NDArray[np.float64]) -> Agreement:
    value, low, high = icc(read, truth)
    return Agreement(
        icc=value, low=low, high=high, r=float(np.corrcoef(read, truth)[0, 1]),
        bias=float((read - truth).mean()), rmse=float(np.sqrt(((read - truth) ** 2).mean())),
    )  # fmt: skip


def _trained(config: SchoolConfig, kind: Input, path: Path) -> PatchRegressor:
    network = build(config.readers.teacher if kind == "mr" else config.readers.student, 0)
    load_trained(network, path)
    return network


def load_reader(folder: str, kind: Input) -> PatchRegressor:
    """Return a reader of the school in `folder`, of the package's own where that is empty.

    Raises
    ------
    ConfigError
        `school-missing`.
    StoreError
        As `load_model`.
    """
    return load_model(require_school(folder) / kind).networks[0]


def reader_fingerprint(folder: str, kind: Input) -> Fingerprint:
    """Return the fingerprint of what a reader learnt from; errors as `load_reader`."""
    return load_model(require_school(folder) / kind).card.folds[0].fingerprint


def read_school(folder: str) -> SchoolCard:
    """Return the card of a school; errors as `load_reader`."""
    return read_record(SchoolCard, require_school(folder) / CARD, "school")
