from __future__ import annotations

import numpy as np
import pandas as pd

from srrd_ray.report.page import Note, Picture
from srrd_ray.report.run import Run
from srrd_ray.report.search_section import SEARCHED, correlations, training_section

RNG = np.random.default_rng(1)


def trials(count: int) -> pd.DataFrame:
    """Trials of two folds whose ICC rises with the temperature alone, the second fold's lower by 0.3."""
    rows = [
        {
            "fold": fold, "trial": n, **{key: RNG.uniform(0.1, 1.0) for key in SEARCHED}, "temperature": 1.0 + n,
            "icc": 0.02 * n - 0.3 * fold, "epoch": 1, "status": "completed",
        }
        for fold in (0, 1) for n in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_key_that_matters_is_seen_whatever_the_fold() -> None:
    rows = {row[0]: row[1:] for row in correlations(trials(20)).rows}
    assert rows["temperature"] == ("+1.00", "40")
    assert abs(float(rows["kd weight"][0])) < 0.6


def test_a_few_trials_have_no_correlation() -> None:
    assert {row[1] for row in correlations(trials(2)).rows} == {"too few trials"}


def test_losses_are_drawn_stage_by_stage_and_their_absence_is_said() -> None:
    epochs = [{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0, "other": 3.0}]
    run = Run(
        tables={}, metrics=None, manifest=None, outcomes=(), losses={"teach": {"learners": {"a": epochs}}}
    )
    (picture,) = training_section(run).blocks
    assert isinstance(picture, Picture)
    assert "teach" in picture.caption
    (note,) = training_section(Run(tables={}, metrics=None, manifest=None, outcomes=())).blocks
    assert isinstance(note, Note)
