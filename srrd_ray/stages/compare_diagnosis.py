"""Stage ``compare-diagnosis``: other classifiers and inputs beside the diagnosis, by patients held out.

It is evaluation: nothing of it is used for new knees. Where the cohort is simulated the same classifiers also
get the exact parameters, which says what readings could tell at best.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES
from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import COMPARTMENTS, Knee
from srrd_ray.diagnosis import DiagnosisConfig, LabelledKnees
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.classify import features_of
from srrd_ray.stages.shape import TABLE as SHAPE
from srrd_ray.stages.shared.gather import gather_parts
from srrd_ray.stages.shared.truth import true_parameters
from srrd_ray.statistics.pairs import KEYS
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table, write_table

TABLE: Final = "diagnosis_variants"
COLUMNS = ("participant", "side", "source", "inputs", "classifier", "fold", "probability", "label")
SOURCE = "distilled"
"""Whose readings are classified; ``truth`` are the exact ones."""
PLACE = ("store", "row")
MOST_PATIENTS = 200
"""Of larger cohorts some are drawn: 200 tell classifiers apart, and a comparison must not take hours."""
TYPES = {"fold": "int64", "label": "int64", "probability": "float64"}


def compare_diagnoses(
    layout: RunLayout, cohort: Path, knees: Sequence[Knee], config: DiagnosisConfig, seed: int
) -> tuple[Path, ...]:
    """Return the paths of tables ``shape``, where any knee has a shape, and ``diagnosis_variants``: the
    probability of every labelled knee by each classifier and input. No rows where there is one class: the
    diagnosis says so of the same knees.
    """
    shaped = [knee for knee in knees if layout.part(SHAPE, knee).is_file()]
    shape = read_table(gather_parts(layout, SHAPE, shaped)) if shaped else None
    labelled = some_patients(read_table(layout.table("knees")), seed)
    rows: list[pd.DataFrame] = []
    for source, cubes in _cubes(layout, cohort, set(labelled["participant"])).items():
        found = labelled_knees(cubes, shape, labelled)
        try:
            rows += list(_rows(source, found, config, seed_from(seed, "classify")))
        except NotEstimableError:
            rows = []
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({name: [] for name in COLUMNS})
    write_table(layout.table(TABLE), table.astype(TYPES))
    return (*((layout.table(SHAPE),) if shaped else ()), layout.table(TABLE))


def some_patients(knees: pd.DataFrame, seed: int, most: int = MOST_PATIENTS) -> pd.DataFrame:
    """Return the labelled knees of table `knees` that are in a fold, of at most so many patients, drawn by
    their names.
    """
    labelled = knees.dropna(subset=["oa", "fold"])
    patients = sorted(set(labelled["participant"]), key=lambda one: seed_from(seed, "compare diagnosis", one))
    return labelled[labelled["participant"].isin(patients[:most])]


def _cubes(layout: RunLayout, cohort: Path, patients: Collection[str]) -> Mapping[str, pd.DataFrame]:
    """Return what the student reads in each cube, and what is true of it where that is known."""
    predictions = read_table(layout.table("predictions"), (*KEYS, *PLACE, "model", *PARAMETERS), coded=True)
    chosen = (predictions["model"] == SOURCE) & predictions["participant"].isin(list(patients))
    read = predictions[chosen].drop(columns="model")
    truth = true_parameters(layout, cohort, patients)
    if truth is None:
        return {SOURCE: read}
    exact = read.drop(columns=list(PARAMETERS)).merge(truth[[*PLACE, *PARAMETERS]], on=list(PLACE))
    return {SOURCE: read, "truth": exact}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Cohort:
    """The labelled knees with readings of both compartments, their folds, and whether shapes are known."""

    keys: tuple[Knee, ...]
    knees: LabelledKnees
    folds: Mapping[str, int]
    shaped: bool


def labelled_knees(cubes: pd.DataFrame, shape: pd.DataFrame | None, knees: pd.DataFrame) -> _Cohort:
    """Return the knees of the table of labelled `knees` of which both compartments were read in `cubes`."""
    features = features_of(cubes)
    known = knees.set_index(["participant", "side"])
    rows = [n for n, knee in enumerate(features.knees) if (knee.participant, knee.side) in known.index]
    kept = tuple(features.knees[n] for n in rows)
    index = pd.MultiIndex.from_tuples([(k.participant, k.side) for k in kept], names=["participant", "side"])
    shapes = pd.DataFrame(index=index) if shape is None else shape.set_index(index.names).reindex(index)
    tokens = _tokens(cubes)
    return _Cohort(
        keys=kept,
        knees=LabelledKnees(
            readings=features.values[rows],
            cubes=tuple(tokens[knee] for knee in kept),
            shape=shapes.to_numpy(dtype=np.float64),
            labels=known.loc[index, "oa"].to_numpy(dtype=np.intp),
            patients=tuple(knee.participant for knee in kept),
        ),
        folds={str(patient): int(fold) for (patient, _), fold in known["fold"].items()},
        shaped=shape is not None,
    )


def _tokens(cubes: pd.DataFrame) -> Mapping[Knee, NDArray[np.float64]]:
    """Return the cubes of each knee: the parameters, and -1 or 1 for the bone and for the compartment."""
    whole = cubes[np.isfinite(cubes[list(PARAMETERS)].to_numpy(dtype=np.float64)).all(axis=1)]
    places = {"bone": BONES[0], "compartment": COMPARTMENTS[0]}
    signs = [np.where(whole[name] == first, 1.0, -1.0) for name, first in places.items()]
    values = np.column_stack([whole[list(PARAMETERS)].to_numpy(dtype=np.float64), *signs])
    return {
        Knee(participant=str(pair[0]), side=pair[1]): values[rows]
        for pair, rows in whole.groupby(["participant", "side"], observed=True).indices.items()
    }


def _rows(source: str, found: _Cohort, config: DiagnosisConfig, seed: int) -> Iterator[pd.DataFrame]:
    """Yield a row a knee for each input and classifier."""
    from srrd_ray.diagnosis.variants import INPUTS, compare  # torch and scikit-learn take seconds to import

    measured = [name for name in INPUTS if found.shaped or name == "readings"]
    for inputs in (name for name in measured if source == SOURCE or name != "shape"):
        for variant in compare(found.knees, inputs, found.folds, config, seed):
            yield pd.DataFrame(
                {
                    "participant": [knee.participant for knee in found.keys],
                    "side": [knee.side for knee in found.keys],
                    "source": source,
                    "inputs": inputs,
                    "classifier": variant.classifier,
                    "fold": [found.folds[knee.participant] for knee in found.keys],
                    "probability": variant.probability,
                    "label": found.knees.labels,
                }
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareDiagnosisSettings:
    """How osteoarthritis is separated from healthy."""

    diagnosis: DiagnosisConfig
    seed: int


def compare_diagnosis(work: Work[CompareDiagnosisSettings]) -> Produced:
    """Compare the diagnosis with other classifiers and inputs."""
    assert work.cohort.root is not None, "declared by `truth`"
    settings, cohort = work.settings, work.cohort
    return Produced(
        paths=compare_diagnoses(
            work.layout, work.cohort.root, cohort.remaining, settings.diagnosis, settings.seed
        )
    )


STAGE = Stage(
    name="compare-diagnosis",
    scope="cohort",
    function=compare_diagnosis,
    settings=CompareDiagnosisSettings,
    needs=("patches", "shape", "tables", "classify"),
    outside=("truth",),
    outputs=(f"tables/{SHAPE}", f"tables/{TABLE}"),
)
