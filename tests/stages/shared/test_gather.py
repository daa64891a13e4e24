"""What is gathered over knees: patients share a fold, and no image goes by two names."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.errors import CohortError
from srrd_ray.core.records import Knee
from srrd_ray.stages.ingest import IngestConfig, ingest
from srrd_ray.stages.shared.gather import check_duplicate_images, write_knees
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table
from tests.imaging import makers


def ingested(root: Path, copied: str) -> tuple[RunLayout, list[Knee]]:
    """Ingest a cohort in which B2 brings the image `copied` of A1 (nothing where empty)."""
    cohort, layout = makers.cohort(root / "cohort"), RunLayout(root=root / "run")
    if copied:
        stem = f"sub-{{0}}/{copied}/sub-{{0}}_side-L_{copied}.nii.gz"
        (cohort / stem.format("B2")).write_bytes((cohort / stem.format("A1")).read_bytes())
    knees = read_cohort(cohort).knees
    for knee in knees:
        ingest(knee, layout, IngestConfig())
    return layout, [knee.knee for knee in knees]


@pytest.mark.parametrize("copied", ["ct", "mr"])
def test_42_one_image_under_two_participants_stops_the_learning(tmp_path: Path, copied: str) -> None:
    layout, knees = ingested(tmp_path, copied)
    with pytest.raises(CohortError, match="leakage-same-image") as caught:
        check_duplicate_images(layout, knees)
    assert "sub-A1_side-L, sub-B2_side-L" in str(caught.value)


def test_42_different_images_do_not_stop_it(tmp_path: Path) -> None:
    check_duplicate_images(*ingested(tmp_path, ""))


def test_both_knees_of_a_patient_share_a_fold_and_lost_knees_have_none(tmp_path: Path) -> None:
    cohort = read_cohort(makers.cohort(tmp_path / "cohort", people=("A1", "B2", "C3", "D4")))
    layout = RunLayout(root=tmp_path / "run")
    kept = [knee.knee for knee in cohort.knees if knee.knee.participant != "D4"]
    table = read_table(write_knees(layout, cohort.knees, kept, folds=2, seed=0))
    assert table.groupby("participant")["fold"].nunique().max() == 1
    assert table.loc[table["participant"] == "D4", "fold"].isna().all()
    assert table.loc[table["participant"] != "D4", "fold"].notna().all()
