"""Classify the knees of a cohort by their predicted bone parameters.

Each is classified by a model that never saw its patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, get_args

import numpy as np
import pandas as pd

from srrd_ray.core import serial
from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.hashing import hash_json, seed_from
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import Knee, Prediction, RunModel
from srrd_ray.diagnosis import (
    DiagnosisConfig,
    Features,
    LinearModel,
    PatchValues,
    Training,
    fit,
    knee_features,
    out_of_fold,
)
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.gather import gather_predictions
from srrd_ray.statistics.pairs import KEYS
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import read_record, write_record
from srrd_ray.storage.tables import read_table, write_table

Model: TypeAlias = RunModel
MODELS: tuple[Model, ...] = get_args(Model)
COLUMNS = ("participant", "side", "model", "fold", "probability", "label", "model_sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisModels:
    """What `models/diagnosis/model.json` holds.

    Parameters
    ----------
    folds
        Source of the parameters (teacher, baseline, school, distilled) to one model a fold.
    final
        The same source to the model of every labelled knee, for new knees.
    not_estimable
        The same source to the reason why it has no models.
    """

    config: DiagnosisConfig
    folds: Mapping[str, tuple[LinearModel, ...]] = field(default_factory=dict)
    final: Mapping[str, LinearModel] = field(default_factory=dict)
    not_estimable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Classified:
    """The models and predictions from one source of parameters."""

    models: tuple[LinearModel, ...]
    final: LinearModel
    predictions: tuple[Prediction, ...]


def classify(layout: RunLayout, config: DiagnosisConfig, seed: int) -> tuple[Prediction, ...]:
    """Return the out-of-fold probability of every knee, for each source of parameters in `predictions`.

    Reads tables ``predictions`` and ``knees`` (its folds and labels); writes table ``diagnosis`` and
    ``models/diagnosis/model.json``. A source with too few knees for a model is left out, its reason kept in
    the model.
    """
    predictions = read_table(layout.table("predictions"), (*KEYS, "model", *PARAMETERS), coded=True)
    knees = read_table(layout.table("knees"), ("participant", "side", "oa", "fold"))
    found: dict[str, _Classified] = {}
    reasons: dict[str, str] = {}
    for name in MODELS:
        chosen = predictions[predictions["model"] == name]
        if chosen.empty:
            continue
        try:
            found[name] = _classified(features_of(chosen), knees, config, seed_from(seed, "classify"))
        except NotEstimableError as error:
            reasons[name] = str(error)
    _write(layout, config, found, reasons)
    return tuple(prediction for one in found.values() for prediction in one.predictions)


def features_of(patches: pd.DataFrame) -> Features:
    """Return the features of each knee of a table.

    The table has participant, side, bone, compartment and the four parameters.
    """
    pairs = list(zip(patches["participant"], patches["side"], strict=True))
    knees = {pair: Knee(participant=str(pair[0]), side=pair[1]) for pair in dict.fromkeys(pairs)}
    return knee_features(
        PatchValues(
            knees=[knees[pair] for pair in pairs],
            bones=patches["bone"].tolist(),
            compartments=patches["compartment"].tolist(),
            values=patches[list(PARAMETERS)].to_numpy(dtype=np.float64),
        )
    )


def read_models(layout: RunLayout) -> DiagnosisModels:
    """Return the models written by `classify`."""
    return read_record(DiagnosisModels, layout.model("diagnosis") / "model.json", "diagnosis_models")


def _classified(features: Features, knees: pd.DataFrame, config: DiagnosisConfig, seed: int) -> _Classified:
    labels = {(row.participant, row.side): _label(row.oa) for row in knees.itertuples()}
    folds = {str(row.participant): int(row.fold) for row in knees.itertuples() if not pd.isna(row.fold)}
    patients = features.patients  # made anew at every call
    of_knee = [labels.get((knee.participant, knee.side)) for knee in features.knees]
    usable = [n for n, knee in enumerate(features.knees) if knee.participant in folds]
    known = [n for n in usable if of_knee[n] is not None]
    data = Training(
        values=features.values[known],
        labels=np.array([of_knee[n] for n in known], dtype=np.intp),
        patients=tuple(patients[n] for n in known),
    )
    present = {patients[n]: folds[patients[n]] for n in usable}
    models = out_of_fold(data, features.names, present, config, seed=seed)
    by_fold = {model.fold: model for model in models}
    hashes = {fold: sha256_of(model) for fold, model in by_fold.items()}
    predictions = tuple(
        Prediction(
            knee=features.knees[n],
            probability=float(by_fold[present[patients[n]]].probability(features.values[n][None])[0]),
            label=of_knee[n],
            fold=present[patients[n]],
            model_sha256=hashes[present[patients[n]]],
        )
        for n in usable
    )
    return _Classified(
        models=models, final=fit(data, features.names, config, seed=seed), predictions=predictions
    )


def sha256_of(model: LinearModel) -> str:
    """Return the hash that predictions carry of the model they come from."""
    return hash_json(serial.to_json(model))


def _label(value: object) -> int | None:
    return None if pd.isna(value) else int(float(str(value)))


def _write(
    layout: RunLayout, config: DiagnosisConfig, found: Mapping[str, _Classified], reasons: Mapping[str, str]
) -> None:
    predictions = [(name, p) for name, one in found.items() for p in one.predictions]
    rows = [
        (p.knee.participant, p.knee.side, name, p.fold, p.probability, p.label, p.model_sha256)
        for name, p in predictions
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_table(
        layout.table("diagnosis"), table.astype({"label": "Int64", "fold": "int64", "probability": "float64"})
    )
    models = DiagnosisModels(
        config=config,
        folds={name: one.models for name, one in found.items()},
        final={name: one.final for name, one in found.items()},
        not_estimable=dict(reasons),
    )
    write_record(layout.model("diagnosis") / "model.json", models, "diagnosis_models")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifySettings:
    """How osteoarthritis is separated from healthy."""

    diagnosis: DiagnosisConfig
    seed: int


def classify_knees(work: Work[ClassifySettings]) -> Produced:
    """Gather the predictions of all shards, and classify each knee as osteoarthritis or healthy."""
    layout, settings = work.layout, work.settings
    table = gather_predictions(layout, work.cohort.shards)
    classify(layout, settings.diagnosis, settings.seed)
    return Produced(paths=(table, layout.table("diagnosis"), layout.model("diagnosis")))


STAGE = Stage(
    name="classify",
    scope="cohort",
    function=classify_knees,
    settings=ClassifySettings,
    needs=("tables", "predict"),
    outputs=("tables/predictions", "tables/diagnosis", "models/diagnosis"),
)
