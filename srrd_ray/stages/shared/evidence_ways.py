"""Ways to learn from the same cubes, each with the same network, passes and patients.

They show what MR gives, and which part of it. A course trains the models that belong together on the patients
outside one fold, and reads the cubes of those in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.bins import gaussian_targets
from srrd_ray.distillation.config import DistillationConfig, HyperParameters
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.inference import LEAST, TeacherOutputs, outputs_of, teacher_outputs
from srrd_ray.distillation.networks import PatchRegressor
from srrd_ray.distillation.search import TrialInputs
from srrd_ray.distillation.step import StudentLearner, TeacherLearner
from srrd_ray.distillation.together import read_together
from srrd_ray.morphometry.binarize import otsu_threshold
from srrd_ray.morphometry.maps import bone_maps, region_measures
from srrd_ray.patches.sampling import CT_SPACING_MM
from srrd_ray.stages.shared.evidence_cubes import EvidenceCubes
from srrd_ray.stages.shared.fold_training import guided_part, with_school_networks
from srrd_ray.stages.shared.school_model import READERS, Input, load_reader, read_cubes, read_school

Readings: TypeAlias = NDArray[np.float32]
Reads: TypeAlias = Literal["CT", "MR", "MR and CT"]

FEATURE_WEIGHT, RELATION_WEIGHT = 0.3, 1.0
"""Of the terms that are off by default, where they are tried."""
ALONE: Final[Mapping[str, Input]] = MappingProxyType({"labels-mr": "mr", "labels-ct": "ct"})
"""Students of the labels of one reader alone."""
FINE_MM: Final = 0.2
"""Grid on which CT is thresholded."""
NOTHING: Final = (np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model of the table: what it is in words, and what it reads."""

    about: str
    reads: Reads = "CT"


MODELS: Final[Mapping[str, Model]] = MappingProxyType(
    {
        "measured": Model(about="measured in MR (morphometry)", reads="MR"),
        "threshold": Model(about="CT thresholded and measured"),
        "ridge": Model(about="ridge regression of CT texture, measured labels"),
        "baseline": Model(about="student of measured labels, without MR"),
        "halves": Model(about="the same, with the halves of cubes measured in MR as further labels"),
        "ct-teacher": Model(about="the same, taught by another such student (CT teaches CT)"),
        "teacher": Model(about="MR teacher of measured labels", reads="MR"),
        "measured-distilled": Model(about="student of measured labels, taught by that MR teacher"),
        "reader-mr": Model(about="the school's reader of MR alone", reads="MR"),
        "together": Model(about="both readers of the school together: the labels", reads="MR and CT"),
        "school": Model(about="the school's reader of CT alone"),
        "values": Model(about="student from that reader, values of the labels alone"),
        "distilled": Model(about="student from that reader, values and their spread (the default)"),
        "temperature-1": Model(about="the default, spread as sharp as the labels have it (temperature 1)"),
        "features": Model(about="the default and the features of the MR reader"),
        "relations": Model(about="the default and the relations between cubes as the MR reader has them"),
        "features-relations": Model(about="the default and both"),
        "labels-mr": Model(about="the default, labels of the MR reader alone"),
        "labels-ct": Model(about="the default, labels of the CT reader itself"),
        "ridge-start": Model(about="the default, begun at a ridge regression"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lesson:
    """What one course learns from and reads.

    Parameters
    ----------
    taught, asked
        Cubes of the training patients, and of those of the fold.
    config
        With the networks of the school's readers.
    seed
        Of weights and order.
    """

    taught: EvidenceCubes
    asked: EvidenceCubes
    config: DistillationConfig
    seed: int

    def student(
        self,
        data: DistillationData,
        hyper: HyperParameters,
        teacher: TeacherOutputs | None = None,
        start: PatchRegressor | None = None,
    ) -> PatchRegressor:
        """Return a student of the labels of `data`; arguments as `StudentLearner`."""
        learner = StudentLearner(
            "student", data, replace(self.config, hyper=hyper), self.seed, teacher, start=start
        )
        _train(learner)
        return learner.network

    def read(self, network: PatchRegressor) -> Readings:
        """Return what a student reads in the CT that is asked."""
        return read_cubes(network, "ct", self.asked.data)


Course: TypeAlias = Callable[[Lesson], Iterator[tuple[str, Readings]]]


def lesson_of(
    cubes: EvidenceCubes,
    config: DistillationConfig,
    fold: int,
    folds: Mapping[str, int],
    *,
    seed: int,
    patients: int = 0,
) -> Lesson:
    """Return the lesson of a fold; only so many patients teach in all folds together, where not 0."""
    of = np.array([folds[str(name)] for name in cubes.data.patients])
    chosen = of != fold
    if patients:
        names = sorted(folds, key=lambda name: seed_from(seed, "curve", name))[:patients]
        chosen &= np.isin(cubes.data.patients, names)
    return Lesson(
        taught=cubes.rows(chosen), asked=cubes.rows(of == fold), config=with_school_networks(config),
        seed=seed_from(seed, "evidence", fold),
    )  # fmt: skip


def of_measured_labels(given: Lesson) -> Iterator[tuple[str, Readings]]:
    """Yield what the models of measured labels read."""
    data, usual = given.taught.data, given.config.hyper
    yield "ridge", given.read(StudentLearner("ridge", data, given.config, given.seed).network)  # not trained
    baseline = given.student(data, usual)
    yield "baseline", given.read(baseline)
    halves = measured_halves(given.taught, given.config.sigma_bins)
    values_alone = replace(usual, temperature=1.0, feature_weight=0.0, relation_weight=0.0)
    yield "halves", given.read(given.student(data, values_alone, halves))
    yield "ct-teacher", given.read(_taught_by_ct(given, baseline))
    teacher = TeacherLearner("teacher", data, given.config, given.seed)
    _train(teacher)
    yield "teacher", read_cubes(teacher.network, "mr", given.asked.data)
    said = teacher_outputs(teacher.network, data)
    yield "measured-distilled", given.read(given.student(data, usual, said))


def measured_halves(taught: EvidenceCubes, sigma_bins: float) -> TeacherOutputs:
    """Return measured values in the place of a teacher's readings: of whole cubes and of their halves."""
    said = gaussian_targets(torch.from_numpy(taught.data.targets), sigma_bins)
    return TeacherOutputs(
        logits=said.clamp_min(LEAST).log(), features=(), halves=torch.from_numpy(taught.halves)
    )


def _taught_by_ct(given: Lesson, teacher: PatchRegressor) -> PatchRegressor:
    """Return a student that a student of CT teaches, as a teacher of MR would."""
    data = given.taught.data
    said = outputs_of(teacher, data.ct, data.ct_mask)
    config = replace(given.config, teacher=given.config.student)
    other = replace(given, config=config, seed=seed_from(given.seed, "another"))
    return other.student(data, given.config.hyper, said)


def of_the_readers(given: Lesson) -> Iterator[tuple[str, Readings]]:
    """Yield what the students of the readers' labels read; nothing where no MR is like the school's."""
    inputs, usual = _of_the_readers(given), given.config.hyper
    if inputs is None:
        return
    data, said, start = inputs.data, inputs.outputs, inputs.start
    yield "values", given.read(given.student(data, usual.without_teacher(), start=start))
    features, relations = {"feature_weight": FEATURE_WEIGHT}, {"relation_weight": RELATION_WEIGHT}
    tried = {
        "distilled": usual,
        "temperature-1": replace(usual, temperature=1.0),
        "features": replace(usual, **features),
        "relations": replace(usual, **relations),
        "features-relations": replace(usual, **features, **relations),
    }
    for name, hyper in tried.items():
        yield name, given.read(given.student(data, hyper, said, start))
    for name, kind in ALONE.items():
        alone = _labelled_by(inputs, kind, given.config)
        yield name, given.read(given.student(alone.data, usual, alone.outputs, start))
    yield "ridge-start", given.read(given.student(data, usual, said))


def _of_the_readers(given: Lesson) -> TrialInputs | None:
    """Return cubes with what the readers say of them; null where no MR is like the school's."""
    try:
        return guided_part(given.taught.data, load_reader(given.config.school, "mr"), given.config)
    except InputError as error:
        if error.code != "mr-outside-school":
            raise
        return None


def _labelled_by(inputs: TrialInputs, kind: Input, config: DistillationConfig) -> TrialInputs:
    """Return the inputs with labels of one of the readers alone."""
    values = read_cubes(load_reader(config.school, kind), kind, inputs.data)
    ways = read_school(config.school).together
    said = inputs.outputs.saying(values, [ways[name].sd for name in PARAMETERS])
    return replace(inputs, data=replace(inputs.data, targets=values), outputs=said)


def with_fewer_patients(given: Lesson) -> Iterator[tuple[str, Readings]]:
    """Yield what baseline and distilled student of a point of the learning curve read."""
    usual = given.config.hyper
    yield "baseline", given.read(given.student(given.taught.data, usual))
    inputs = _of_the_readers(given)
    if inputs is not None:
        yield "distilled", given.read(given.student(inputs.data, usual, inputs.outputs, inputs.start))


COURSES: Final[Mapping[str, Course]] = MappingProxyType(
    {"measured": of_measured_labels, "readers": of_the_readers, "curve": with_fewer_patients}
)


def unlearnt(cubes: EvidenceCubes, school: str) -> dict[str, Readings]:
    """Return what is read of the cubes by all that learns nothing from them."""
    data = cubes.data
    mr, ct = (read_cubes(load_reader(school, kind), kind, data) for kind in READERS)
    return {
        "measured": data.targets,
        "threshold": by_threshold(data),
        "reader-mr": mr,
        "school": ct,
        "together": read_together(read_school(school).together, mr, ct),
    }


def by_threshold(data: DistillationData) -> Readings:
    """Return what is measured in CT cubes (n, 4), thresholded by Otsu on a grid of `FINE_MM`."""
    return np.array(
        [_by_threshold(ct, mask > 0) for ct, mask in zip(data.ct, data.ct_mask, strict=True)], np.float32
    )


def _by_threshold(ct: NDArray[np.int16], inside: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    zoom = [step / FINE_MM for step in CT_SPACING_MM]
    fine = ndimage.zoom(ct.astype(np.float32), zoom, order=1)
    roi = ndimage.zoom(inside.astype(np.float32), zoom, order=1) > 0.5
    try:
        bone = fine > otsu_threshold(fine[roi])
    except InputError:  # one value only
        return NOTHING
    found = region_measures(bone_maps(bone, FINE_MM), roi)
    if found.thickness is None or found.separation is None:
        return NOTHING
    share = float(bone[roi].mean())
    return share, found.thickness.mean, found.separation.mean, share / found.thickness.mean


def _train(learner: Learner) -> None:
    for epoch in range(learner.epochs):
        learner.train_epoch(epoch, Shard(), learner.modules())
