from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.core.volume import Volume
from srrd_ray.distillation.fingerprint import fingerprint_distance
from srrd_ray.distillation.inference import predict
from srrd_ray.patches import PatchConfig
from srrd_ray.stages.shared.fold_training import read_data
from srrd_ray.stages.shared.gather import read_folds
from srrd_ray.stages.shared.models import load_model
from srrd_ray.stages.shared.reading import (
    COLUMNS,
    ensemble_distance,
    predict_shard,
    predictions_of,
    read_knee,
)
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table
from tests.distillation.toys import toy
from tests.patches.phantoms import knee_labels, oblique_grid, voxel_lps
from tests.stages.small_run import FOLDS, PATIENTS, WITHOUT_MR, plan_of

DATA = toy(8 * PATIENTS)


@pytest.fixture
def run(learnt: RunLayout) -> RunLayout:
    return learnt


def test_every_cube_is_read_by_the_model_that_never_saw_its_patient(run: RunLayout) -> None:
    rows = predictions_of(run.shard(0), run.root / "models", FOLDS)
    assert (rows["fold"] == rows["participant"].map(FOLDS)).all()
    network = load_model(run.model("distilled")).networks[2]
    mine = rows[(rows["model"] == "distilled") & (rows["fold"] == 2)]
    mean, sd = predict(network, DATA.ct[mine["row"]], DATA.ct_mask[mine["row"]])
    np.testing.assert_allclose(mine[list(PARAMETERS)], mean, rtol=1e-4)
    np.testing.assert_allclose(mine[[p.predictive_sd for p in PARAMETER_OF.values()]], sd, rtol=1e-3)


def test_students_read_cubes_without_mr_and_the_teacher_does_not(run: RunLayout) -> None:
    counts = (
        predictions_of(run.shard(0), run.root / "models", FOLDS).groupby("model")["row"].agg(["count", "min"])
    )
    assert counts["count"].to_dict() == {"baseline": 24, "distilled": 24, "teacher": 23}
    assert counts.loc["teacher", "min"] == WITHOUT_MR + 1


def test_the_table_of_a_shard_has_the_columns_of_the_contract(run: RunLayout, tmp_path: Path) -> None:
    predict_shard(run, run.shard(1), tmp_path / "shard-00001.parquet", read_folds(run))
    table = read_table(tmp_path / "shard-00001.parquet")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["store"]) == {"shard-00001"}
    assert table[list(PARAMETERS)].notna().all(axis=None)


def test_a_patient_without_a_fold_is_left_out(run: RunLayout) -> None:
    rows = predictions_of(run.shard(0), run.root / "models", {p: f for p, f in FOLDS.items() if p != "p1"})
    assert set(rows["participant"]) == {"p0", "p2"}


def test_scans_like_the_training_set_are_not_flagged_and_others_are_with_the_reason(run: RunLayout) -> None:
    data, model = read_data(plan_of(run)), load_model(run.model("distilled"))
    assert not ensemble_distance(model, data.ct[:8], data.ct_mask[:8], data.ct_spacing_mm[:8]).flagged
    coarse = fingerprint_distance(
        model.card.folds[0].fingerprint, data.ct[:8], data.ct_mask[:8], data.ct_spacing_mm[:8] * 2
    )
    assert coarse.flagged
    assert any("voxel" in reason for reason in coarse.reasons)
    metal = (data.ct[:8].astype(np.int32) + 2500).astype(np.int16)
    assert any(
        "mean hu" in r
        for r in ensemble_distance(model, metal, data.ct_mask[:8], data.ct_spacing_mm[:8]).reasons
    )


def phantom_ct() -> tuple[Volume[np.int16], Volume[np.uint8]]:
    grid: Geometry = oblique_grid()
    rng = np.random.default_rng(0)
    hu = 300 + 20 * np.sin(voxel_lps(grid).sum(axis=-1)) + 30 * rng.standard_normal(grid.shape)
    return Volume(array=hu.astype(np.int16), geometry=grid), knee_labels(grid)


def test_a_new_knee_is_read_from_ct_alone_with_places_parameters_and_distance(run: RunLayout) -> None:
    ct, bones = phantom_ct()
    reading = read_knee(ct, bones, "L", load_model(run.model("distilled")), PatchConfig())
    assert isinstance(reading.table, pd.DataFrame)
    assert len(reading.table) == len(reading.points) == 24
    assert np.isfinite(reading.table[list(PARAMETERS)].to_numpy()).all()
    assert reading.distance.flagged
    medial = reading.table[reading.table["compartment"] == "medial"]
    assert (medial["x_mm"] < 0).all()


def test_a_new_knee_without_room_for_a_cube_is_refused(run: RunLayout) -> None:
    ct, bones = phantom_ct()
    with pytest.raises(InputError, match=r"\[patches-none\].*outside the bone"):
        read_knee(ct, bones, "L", load_model(run.model("distilled")), PatchConfig(depth_mm=1.0))
