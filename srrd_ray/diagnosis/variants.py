"""Other classifiers and inputs beside those of the product's diagnosis, each on knees that it never saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias, assert_never, get_args

import numpy as np

from srrd_ray.diagnosis.boosting import boosting
from srrd_ray.diagnosis.models import DiagnosisConfig, ridge
from srrd_ray.diagnosis.selection import Fit, LabelledKnees, Training, Values, filling, held_out
from srrd_ray.diagnosis.set_transformer import set_transformer

Classifier: TypeAlias = Literal["logistic", "boosting", "set-transformer"]
Inputs: TypeAlias = Literal["readings", "shape", "both"]
CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)
INPUTS: tuple[Inputs, ...] = get_args(Inputs)


class Variant(NamedTuple):
    """What one classifier says of each knee by these inputs, fitted on the patients of the other folds."""

    inputs: Inputs
    classifier: Classifier
    probability: Values


def compare(
    knees: LabelledKnees, inputs: Inputs, folds: Mapping[str, int], config: DiagnosisConfig, seed: int
) -> Iterator[Variant]:
    """Yield what each classifier says by these inputs; a set-Transformer needs cubes to read.

    Raises
    ------
    NotEstimableError
        `one-class` where the training knees of a fold are all of one class.
    """
    for classifier in CLASSIFIERS:
        if classifier != "set-transformer" or inputs != "shape":
            data, fit = _data(knees, inputs, classifier), _fit(classifier, config)
            found = held_out(filling(fit), data, folds, config.inner_folds, seed)
            yield Variant(inputs=inputs, classifier=classifier, probability=found)


def _data(knees: LabelledKnees, inputs: Inputs, classifier: Classifier) -> Training:
    """Return the knees as a classifier reads them: a set-Transformer has the cubes in place of features."""
    by_cubes = classifier == "set-transformer"
    readings = knees.readings[:, :0] if by_cubes or inputs == "shape" else knees.readings
    shape = knees.shape[:, :0] if inputs == "readings" else knees.shape
    return Training(
        values=np.concatenate([readings, shape], axis=1),
        labels=knees.labels,
        patients=knees.patients,
        cubes=knees.cubes if by_cubes else (),
    )


def _fit(classifier: Classifier, config: DiagnosisConfig) -> Fit:
    match classifier:
        case "logistic":
            return ridge(config)
        case "boosting":
            return boosting
        case "set-transformer":
            return set_transformer
        case never:
            assert_never(never)
