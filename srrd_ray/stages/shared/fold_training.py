"""Teacher, baseline and distilled student of every fold: their data, their order, their models.

The models of fold k are trained on the patients outside fold k alone: networks, normalisation, fingerprint
and search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Learner
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.config import Candidate, DistillationConfig
from srrd_ray.distillation.data import DistillationData, bone_fraction
from srrd_ray.distillation.fingerprint import fit_fingerprint
from srrd_ray.distillation.inference import teacher_outputs
from srrd_ray.distillation.networks import PatchRegressor, build
from srrd_ray.distillation.search import TrialInputs, trial
from srrd_ray.distillation.step import StudentLearner, TeacherLearner
from srrd_ray.distillation.together import read_together
from srrd_ray.stages.shared.models import CARD, ModelName, StoredFold, load_model, load_trained, store_model
from srrd_ray.stages.shared.school_labels import label_table, like_the_school
from srrd_ray.stages.shared.school_model import load_reader, read_cubes, read_school, reader_fingerprint
from srrd_ray.storage import patch_store
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table, write_table

Folds: TypeAlias = Mapping[str, int]

MEASURED = ("store", "row", *PARAMETERS, "coverage")
"""What is read of the table ``measures``."""
MIN_COVERAGE = 0.5
"""A measured cube counts where at least this part of it was measured in MR."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilPlan:
    """Everything that the trainings depend on; plain and picklable.

    Parameters
    ----------
    layout
        The run; its table ``measures`` and the shards exist.
    shards
        The patch shards.
    folds
        Participant to the fold that tests it.
    config
        Networks, epochs, losses.
    seed
        Of the run; each learner derives its own.
    winners
        What the search chose, by fold; what `config` says where a fold has none.
    """

    layout: RunLayout
    shards: tuple[Path, ...]
    folds: dict[str, int]
    config: DistillationConfig
    seed: int
    winners: dict[int, Candidate]

    def fold_numbers(self) -> tuple[int, ...]:
        """Return the folds that have a patient, in order."""
        return tuple(sorted(set(self.folds.values())))

    def seed_of(self, fold: int, model: str) -> int:
        """Return the seed of a learner. Baseline and distilled share one: they start at the same weights."""
        return seed_from(self.seed, "distil", fold, "teacher" if model == "teacher" else "student")

    def config_of(self, fold: int) -> DistillationConfig:
        """Return the configuration with the fold's winning settings."""
        return self.config.choosing(self.winners.get(fold, self.config.candidate))


def load_data(layout: RunLayout, shards: Sequence[Path]) -> DistillationData:
    """Return every cube of `shards` of a run that has MR and four measured parameters.

    The cubes are in order of shard and row.

    Raises
    ------
    InputError
        `patches-none` where there is no such cube.
    """
    measures = read_table(layout.table("measures"), MEASURED)
    none, rows = measures.iloc[:0], dict(tuple(measures.groupby("store", sort=False)))
    parts = [_load_shard(path, rows.get(path.stem, none)) for path in shards if patch_store.read_index(path)]
    data = DistillationData.concatenate(parts) if parts else None
    if data is None or len(data) == 0:
        raise InputError(
            "patches-none",
            "no cube has both MR and measured parameters",
            todo="Look at the outcomes of registration, patches and measure.",
        )
    return data


def read_data(plan: DistilPlan) -> DistillationData:
    """Return the cubes of a plan's patients."""
    data = load_data(plan.layout, plan.shards)
    return data.select_patients(set(plan.folds))


def training_part(data: DistillationData, folds: Folds, fold: int) -> DistillationData:
    """Return the cubes of the patients outside `fold`: all that its models may see.

    Raises
    ------
    InputError
        `patches-none` where there is none.
    """
    part = data.select_patients({patient for patient, test in folds.items() if test != fold})
    if len(part) == 0:
        raise InputError(
            "patches-none", "no cube to learn from", where=f"fold {fold}",
            got=f"cubes of {np.unique(data.patients).size} patients, all in this fold",
            todo="Look at the outcomes of registration, patches and measure.",
        )  # fmt: skip
    return part


def training_patients(plan: DistilPlan, fold: int) -> int:
    """Return the number of patients outside `fold` of whom a cube can be learnt from."""
    measures = read_table(plan.layout.table("measures"), (*MEASURED, "participant"))
    usable = np.isfinite(measures[list(PARAMETERS)].to_numpy(np.float64)).all(axis=1)
    usable &= measures["coverage"].to_numpy(np.float64) >= MIN_COVERAGE
    usable &= measures["store"].isin([path.stem for path in plan.shards]).to_numpy()
    patients = {str(name) for name in measures["participant"][usable].unique()}
    return sum(plan.folds.get(patient, fold) != fold for patient in patients)


def teacher_and_baseline_learners(plan: DistilPlan) -> Iterator[Learner]:
    """Yield ``fold-<k>_teacher``, unless the school's reader is the teacher, and ``fold-<k>_baseline`` for
    every fold.
    """
    data = read_data(plan)
    for fold in plan.fold_numbers():
        part = training_part(data, plan.folds, fold)
        if plan.config.labels == "measured":
            seed = plan.seed_of(fold, "teacher")
            yield TeacherLearner(learner_name(fold, "teacher"), part, plan.config, seed)
        yield StudentLearner(
            learner_name(fold, "baseline"), part, plan.config, plan.seed_of(fold, "baseline")
        )


def distilled_learners(plan: DistilPlan) -> Iterator[Learner]:
    """Yield ``fold-<k>_distilled`` for every fold, guided by the fold's own teacher of ``models/teacher``."""
    data = read_data(plan)
    teachers = load_model(plan.layout.model("teacher")).networks
    for fold in plan.fold_numbers():
        part = guided_part(training_part(data, plan.folds, fold), teachers[fold], plan.config)
        name, seed = learner_name(fold, "distilled"), plan.seed_of(fold, "distilled")
        yield StudentLearner(name, part.data, plan.config_of(fold), seed, part.outputs, start=part.start)


def guided_part(data: DistillationData, teacher: PatchRegressor, config: DistillationConfig) -> TrialInputs:
    """Return cubes and what the teacher says of them.

    Where the school's values are the labels, they are what its readers read in MR and CT together, and cubes
    of MR that is not like the school's are left out.
    """
    if config.labels == "measured":
        return TrialInputs(data=data, outputs=teacher_outputs(teacher, data))
    data = like_the_school(data, reader_fingerprint(config.school, "mr"))
    outputs = teacher_outputs(teacher, data)
    ways, reader = read_school(config.school).together, load_reader(config.school, "ct")
    values = read_together(ways, outputs.values().numpy(), read_cubes(reader, "ct", data))
    spread = [ways[name].sd for name in PARAMETERS]
    return TrialInputs(
        data=replace(data, targets=values),
        outputs=outputs.saying(values, spread),
        start=reader if config.start == "reader" else None,
    )


def with_school_networks(config: DistillationConfig) -> DistillationConfig:
    """Return the settings with the networks of the school's readers, where they teach.

    Teacher and students are then of the readers' size, so that all can begin and be compared alike.
    """
    if config.labels == "measured":
        return config
    readers = read_school(config.school).config.readers
    return replace(config, teacher=readers.teacher, student=readers.student)


def trial_scores(plan: DistilPlan, fold: int, chosen: Candidate) -> Iterator[float]:
    """Yield the inner validation score of one setting after every epoch."""
    yield from trial(trial_inputs(plan, fold), chosen, plan.config, seed_from(plan.seed, "trial", fold))


def trial_inputs(plan: DistilPlan, fold: int) -> TrialInputs:
    """Return what the search of one fold works on: cubes of its training patients, and its teacher's outputs.

    Kept for the next trial of the same fold in this process; another teacher (its card holds the hashes) is
    read anew.
    """
    card = hash_file(plan.layout.model("teacher") / CARD)
    folds = tuple(sorted(plan.folds.items()))
    return _trial_inputs(plan.layout, plan.shards, folds, fold, _card=card, config=plan.config)


@lru_cache(maxsize=1)
def _trial_inputs(
    layout: RunLayout,
    shards: tuple[Path, ...],
    folds: tuple[tuple[str, int], ...],
    fold: int,
    *,
    _card: str,
    config: DistillationConfig,
) -> TrialInputs:
    part = training_part(load_data(layout, shards), dict(folds), fold)
    teacher = load_model(layout.model("teacher")).networks[fold]
    return guided_part(part, teacher, config)


def learner_name(fold: int, model: ModelName) -> str:
    """Return the name of a learner, and of its file of weights."""
    return f"fold-{fold}_{model}"


def write_label_table(plan: DistilPlan) -> Path:
    """Return the path of ``tables/labels.parquet``: whose MR the school's reader labels."""
    path = plan.layout.table("labels")
    write_table(path, label_table(read_data(plan), reader_fingerprint(plan.config.school, "mr")))
    return path


def save_models(plan: DistilPlan, weights: Path, models: Sequence[ModelName]) -> tuple[Path, ...]:
    """Return the folders ``models/<name>``, made of the trained weights.

    These are in ``<learner>.safetensors`` (keys ``network.…``).
    """
    data = read_data(plan)
    return tuple(_save_model(plan, data, weights, model) for model in models)


def _save_model(plan: DistilPlan, data: DistillationData, weights: Path, model: ModelName) -> Path:
    folds = []
    school_knees = read_school(plan.config.school).knees if _of_school(plan.config) else 0
    for fold in plan.fold_numbers():
        part = training_part(data, plan.folds, fold)
        config = plan.config_of(fold) if model == "distilled" else plan.config
        network = _trained(config, weights, fold, model)
        fingerprint = fit_fingerprint(part.ct, part.ct_mask, part.ct_spacing_mm)
        folds.append(
            StoredFold(
                fold=fold, network=network, hyper=config.hyper, fingerprint=fingerprint,
                nuisance=config.student_nuisance if model == "distilled" else None,
                width=config.student.width if model == "distilled" else None,
                patients=school_knees if model in _of_school(config) else np.unique(part.patients).size,
            )
        )  # fmt: skip
    return store_model(plan.layout.model(model), model, plan.config, folds)


def _of_school(config: DistillationConfig) -> tuple[ModelName, ...]:
    """Return the models of a run that are readers of the school."""
    return ("teacher", "school") if config.labels == "reader" else ()


def _trained(config: DistillationConfig, weights: Path, fold: int, model: ModelName) -> PatchRegressor:
    """Return the trained network of a fold; a reader of the school where it learns nothing here."""
    if model in _of_school(config):
        return load_reader(config.school, "mr" if model == "teacher" else "ct")
    network = build(config.teacher if model == "teacher" else config.student, 0)
    load_trained(network, weights / f"{learner_name(fold, model)}.safetensors")
    return network


def _load_shard(path: Path, measures: pd.DataFrame) -> DistillationData:
    """Return the cubes of a shard; `measures` are its rows."""
    index, arrays = patch_store.read_index(path), patch_store.read_shard(path)
    rows = measures.set_index("row").reindex([patch.row for patch in index])
    targets = rows[list(PARAMETERS)].to_numpy(np.float32)
    usable = np.isfinite(targets).all(axis=1) & arrays["has_mr"].astype(np.bool_)
    usable &= rows["coverage"].to_numpy(np.float64) >= MIN_COVERAGE
    mr_mask = arrays["mr_mask"].astype(np.uint8)[usable]
    return DistillationData(
        ct=arrays["ct"].astype(np.int16)[usable],
        ct_mask=arrays["ct_mask"].astype(np.uint8)[usable],
        ct_spacing_mm=arrays["ct_spacing_mm"].astype(np.float32)[usable],
        mr=bone_fraction(arrays["mr"].astype(np.float16)[usable], mr_mask),
        mr_mask=mr_mask,
        targets=targets[usable],
        patients=np.array([patch.knee.participant for patch in index], dtype=np.str_)[usable],
        regions=np.array([f"{p.knee.side}-{p.bone}-{p.compartment}" for p in index], dtype=np.str_)[usable],
    )
