"""The learners: one epoch of a teacher, and of a student with or without a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from srrd_ray.core.devices import place
from srrd_ray.core.learner import Shard, batches
from srrd_ray.core.optimizing import descend, set_rate
from srrd_ray.distillation.augmentation import sample_views, show
from srrd_ray.distillation.bins import gaussian_targets
from srrd_ray.distillation.config import DistillationConfig, HyperParameters, NetworkConfig
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.halves import start_guided
from srrd_ray.distillation.inference import TeacherOutputs, to_cubes
from srrd_ray.distillation.losses import LOSS_TERMS, LossTerm, StudentBatch, histogram_loss
from srrd_ray.distillation.networks import PatchRegressor, Reading, build, build_adapters, fit_constants


class TeacherLearner:
    """Learns the parameters from MR, which shows the trabeculae."""

    def __init__(self, name: str, data: DistillationData, config: DistillationConfig, seed: int) -> None:
        self._name, self._config, self._seed = name, config, seed
        self._images, self._masks = to_cubes(data.mr, data.mr_mask)
        self._targets = gaussian_targets(torch.from_numpy(data.targets), config.sigma_bins)
        self.network = build(config.teacher, seed)
        fit_constants(self.network, self._images, self._masks, torch.from_numpy(data.targets))
        self._optimizer = _optimizer(self.network, config.hyper)

    @property
    def name(self) -> str:
        """The learner's name."""
        return self._name

    @property
    def epochs(self) -> int:
        """How many epochs it takes."""
        return self._config.teacher_epochs

    def modules(self) -> Mapping[str, nn.Module]:
        """The teacher."""
        return {"network": self.network}

    def optimizers(self) -> Mapping[str, Optimizer]:
        """Its optimizer."""
        return {"network": self._optimizer}

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Run one epoch; returns the mean ``loss``."""
        _set_epoch_rate(self._optimizer, self._config.hyper.lr, epoch, self.epochs)
        count, size, device = (
            len(self._targets),
            self._config.batch_size,
            next(self.network.parameters()).device,
        )
        self._images, self._masks, self._targets = place((self._images, self._masks, self._targets), device)
        views = sample_views(count, self._config.teacher_nuisance, seed=self._seed, epoch=epoch)
        losses = []
        for rows in batches(count, size, seed=self._seed, epoch=epoch, shard=shard):
            reading: Reading = wrapped["network"](*show(self._images, self._masks, rows, views, device))
            loss = histogram_loss(reading.logits, _chosen(self._targets, rows, device))
            losses.append(_step(loss, self._optimizer, self._name))
        return {"loss": float(np.mean(losses))}


class StudentLearner:
    """Learns the parameters from CT.

    The baseline learns from the labels alone, the distilled student also from what the teacher saw in MR.

    Parameters
    ----------
    teacher
        What the teacher says of the cubes of `data`; None for the baseline.
    terms
        The loss; each counts where its weight in ``config.hyper`` says so.
    make
        Makes the network in place of the architecture of ``config.student``.
    start
        A trained network of that architecture to begin at, with its normalisation; a ridge regression of
        labels (and teacher) where there is none.
    """

    def __init__(
        self,
        name: str,
        data: DistillationData,
        config: DistillationConfig,
        seed: int,
        teacher: TeacherOutputs | None = None,
        *,
        terms: tuple[LossTerm, ...] = LOSS_TERMS,
        make: Callable[[NetworkConfig], PatchRegressor] | None = None,
        start: PatchRegressor | None = None,
    ) -> None:
        self._name, self._config, self._seed = name, config, seed
        self._hyper = config.hyper if teacher else config.hyper.without_teacher()
        self._rate = self._hyper.lr * (1.0 if start is None else config.start_rate)
        self._teacher = teacher
        self._terms = tuple(term for term in terms if term.counts(self._hyper, taught=teacher is not None))
        self._images, self._masks = to_cubes(data.ct, data.ct_mask)
        self._targets = gaussian_targets(torch.from_numpy(data.targets), config.sigma_bins)
        self.network = build(config.student, seed, make)
        if start is None:
            self._fit_start(torch.from_numpy(data.targets))
        else:
            self.network.load_state_dict(start.state_dict())
        compared = any(term.needs_adapters for term in self._terms)
        self._adapters = build_adapters(config.student, config.teacher, seed) if compared else None
        self._optimizer = _optimizer(nn.ModuleDict(dict(self.modules())), self._hyper)

    def _fit_start(self, targets: Tensor) -> None:
        """Begin at the ridge regression of the labels, and of what the teacher reads in halves."""
        fit_constants(self.network, self._images, self._masks, targets)
        if self._teacher:
            guide = (self._teacher.halves, self._hyper.kd_weight)
            start_guided(self.network, (self._images, self._masks), targets, guide)

    @property
    def name(self) -> str:
        """The learner's name."""
        return self._name

    @property
    def epochs(self) -> int:
        """How many epochs it takes."""
        return self._config.student_epochs

    def modules(self) -> Mapping[str, nn.Module]:
        """The student and, where features are compared, the adapters to the teacher's channels."""
        modules: dict[str, nn.Module] = {"network": self.network}
        return modules | {"adapters": self._adapters} if self._adapters else modules

    def optimizers(self) -> Mapping[str, Optimizer]:
        """One optimizer for all of `modules`."""
        return {"network": self._optimizer}

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Run one epoch; returns the mean of the ``loss`` and of each of its terms."""
        _set_epoch_rate(self._optimizer, self._rate, epoch, self.epochs)
        count, size, device = (
            len(self._targets),
            self._config.batch_size,
            next(self.network.parameters()).device,
        )
        self._settle(device)
        views = sample_views(count, self._config.student_nuisance, seed=self._seed, epoch=epoch)
        sums: dict[str, list[float]] = {}
        for rows in batches(count, size, seed=self._seed, epoch=epoch, shard=shard):
            reading: Reading = wrapped["network"](*show(self._images, self._masks, rows, views, device))
            batch = self._compared(reading, rows, views.flips, wrapped)
            values = {term.name: term.value(batch) for term in self._terms}
            weighed = torch.stack(
                [term.weight(self._hyper) * values[term.name] for term in self._terms]
            ).sum()
            loss = _step(weighed, self._optimizer, self._name)
            parts = torch.stack([value.detach() for value in values.values()]).tolist()
            for key, value in {**dict(zip(values, parts, strict=True)), "loss": loss}.items():
                sums.setdefault(key, []).append(value)
        return {key: float(np.mean(values)) for key, values in sums.items()}

    def _settle(self, device: torch.device) -> None:
        """Move what is learnt from to the device, where it has room."""
        own = (self._images, self._masks, self._targets)
        if self._teacher is None:
            self._images, self._masks, self._targets = place(own, device)
            return
        said = (self._teacher.logits, *self._teacher.features)
        placed = place((*own, *said), device)
        self._images, self._masks, self._targets = placed[:3]
        self._teacher = replace(self._teacher, logits=placed[3], features=placed[4:])

    def _compared(
        self,
        reading: Reading,
        rows: NDArray[np.intp],
        flips: NDArray[np.int64],
        wrapped: Mapping[str, nn.Module],
    ) -> StudentBatch:
        """Return what the terms of the loss compare for the cubes `rows`, mirrored by `flips`."""
        device, teacher = reading.logits.device, self._teacher
        said = None
        if teacher is not None:
            flip = torch.from_numpy(flips[rows])
            shown = tuple(_chosen(features, rows, device, flip) for features in teacher.features)
            said = Reading(_chosen(teacher.logits, rows, device), shown)
        return StudentBatch(
            reading=reading,
            targets=_chosen(self._targets, rows, device),
            teacher=said,
            adapted=wrapped["adapters"](reading.features) if self._adapters else (),
            hyper=self._hyper,
        )


def _chosen(
    values: Tensor, rows: NDArray[np.intp], device: torch.device, first: Tensor | None = None
) -> Tensor:
    """Return `values` of `rows` on `device`; of pairs (first, row) where `first` is given."""
    at = torch.from_numpy(rows).to(values.device)
    chosen = values[at] if first is None else values[first.to(values.device), at]
    return chosen.to(device)


def _optimizer(module: nn.Module, hyper: HyperParameters) -> AdamW:
    return AdamW(module.parameters(), lr=hyper.lr, weight_decay=hyper.weight_decay)


def _set_epoch_rate(optimizer: Optimizer, peak: float, epoch: int, epochs: int) -> None:
    """Set the learning rate of an epoch: half in the first, then a cosine to a hundredth of `peak`."""
    part = epoch / max(epochs - 1, 1)
    rate = peak * (0.01 + 0.99 * (1 + cos(pi * part)) / 2) * (0.5 if epoch == 0 else 1.0)
    set_rate([optimizer], rate)


def _step(loss: Tensor, optimizer: Optimizer, name: str) -> float:
    todo = "The last good checkpoint is kept; lower the learning rate."
    return descend(loss, optimizer, longest=1.0, where=name, todo=todo)
