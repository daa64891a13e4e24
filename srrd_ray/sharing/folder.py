"""The folder of a model that somebody was given: of which kind it is, and its facts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.json_tree import Json
from srrd_ray.core.model_card import ModelFacts
from srrd_ray.knee_bones import segmenter_files, segmenter_model
from srrd_ray.stages.shared import models
from srrd_ray.stages.shared.model_facts import USE_OF_TEACHER, facts_of_run
from srrd_ray.stages.shared.model_figures import read_metrics
from srrd_ray.stages.shared.precision import precision_figures, read_precision
from srrd_ray.statistics.model_precision import ModelPrecision
from srrd_ray.storage.record_files import read_record

Kind: TypeAlias = Literal["regressor", "segmenter"]
README, SUMS = "README.md", "SHA256SUMS"


def kind_of(folder: Path) -> Kind:
    """Return what the model in a folder is: teacher or student, or the segmenter of bones.

    Raises
    ------
    ConfigError
        `model-missing` where there is none; `model-kind` for a part of a run that is not shared by itself.
    """
    if (folder / segmenter_files.CARD).is_file():
        return "segmenter"
    card = models.require_card(folder)
    try:
        schema = json.loads(card.read_text(encoding="utf-8")).get("schema")
    except (ValueError, AttributeError):
        schema = models.SCHEMA  # a damaged card is told by who reads it
    if str(schema).split("/")[0] != models.SCHEMA.split("/")[0]:
        raise ConfigError(
            "model-kind", "a part of a run that is not shared by itself", where=folder.name,
            got=str(schema)[:40], expected=models.SCHEMA,
            todo="Name RUN/models/distilled, baseline or teacher, or the folder of a segmenter.",
        )  # fmt: skip
    return "regressor"


def facts_of(folder: Path) -> ModelFacts:
    """Return the facts of the model in a folder; the weights are not opened."""
    match kind_of(folder):
        case "segmenter":
            card = read_record(segmenter_model.SegmenterCard, folder / segmenter_files.CARD, "segmenter")
            return segmenter_model.facts_of(card)
        case "regressor":
            return regressor_facts(models.read_card(folder), read_metrics(folder), read_precision(folder))


def regressor_facts(card: models.ModelCard, metrics: Json, precision: ModelPrecision | None) -> ModelFacts:
    """Return the facts of a model of a run, whose metrics may be empty; `precision` null: not measured."""
    figures = tuple(precision_figures(precision)) if precision else ()
    facts = facts_of_run(card.name, metrics, card.caution, card.weights, figures)
    return replace(facts, use=USE_OF_TEACHER) if card.name in models.READ_MR else facts
