from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.records import Image, Knee, Unit
from srrd_ray.core.volume import Volume
from srrd_ray.diagnosis import DiagnosisConfig
from srrd_ray.stages.classify import classify
from srrd_ray.stages.evaluate import evaluate
from srrd_ray.stages.shared import metrics
from srrd_ray.stages.shared.run_page import build_report, knee_images
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import write_volume
from srrd_ray.storage.tables import read_table, write_table
from tests.report.test_overlays import knee
from tests.run_folder import Made, make_run

QUICK = DiagnosisConfig(inverse_penalties=(0.03,), inner_folds=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    found = make_run(tmp_path_factory.mktemp("report"), patients=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 60)
        classify(found.layout, QUICK, seed=0)
        evaluate(found.layout, found.cohort)
    table = read_table(found.layout.table("registration"))
    worst = (table["participant"] == "001") & (table["side"] == "R")
    write_table(
        found.layout.table("registration"), table.assign(surface_mm=table["surface_mm"].where(~worst, 9.0))
    )
    _volumes(found.layout, Knee(participant="001", side="R"))
    return found


@pytest.fixture(scope="module")
def page(made: Made) -> str:
    return build_report(made.layout)[0].read_text(encoding="utf-8")


def _volumes(layout: RunLayout, which: Knee) -> None:
    images = knee()
    assert images.mr is not None
    kinds: list[tuple[Image, Unit, Volume[np.generic]]] = [
        ("ct", "HU", images.ct),
        ("mr", "au", images.mr),
        ("ct_bones", "label", Volume(array=images.bones.array, geometry=images.bones.geometry)),
    ]
    for image, unit, volume in kinds:
        write_volume(layout.volume(which, image), volume, knee=which, image=image, unit=unit)


def test_the_page_has_every_part_of_a_complete_run(page: str) -> None:
    for part in (
        "Cohort",
        "Synthesis and registration",
        "Bone parameters",
        "Diagnosis",
        "Search",
        "What failed",
        "Limits",
        "Provenance",
    ):
        assert f"{part}" in page
    assert "Nothing to show yet" not in page
    assert page.count("data:image/svg+xml;base64,") >= 10


def test_headline_figures_are_those_of_metrics_json(made: Made, page: str) -> None:
    found = json.loads(made.layout.metrics.read_text())
    assert f"{found['registration']['tre_mm']['femur']['median']:.2f} mm" in page
    assert f"{found['regression_truth_comparison']['delta_icc']:+.3f}" in page, "the truth is known"
    assert f"{found['diagnosis']['distilled']['auc']:.2f}" in page


def test_the_worst_registration_is_drawn_with_its_name(page: str) -> None:
    assert "sub-001_side-R: worst of the run, surface distance 9.00 mm" in page
    assert "data:image/png;base64," in page


def test_failures_are_told_and_their_text_cannot_become_markup(page: str) -> None:
    assert "registration-refused" in page
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page


def test_a_simulated_cohort_is_called_one_at_the_top(page: str) -> None:
    assert page.index("Simulated cohort") < page.index("<section")


def test_no_path_of_this_machine_is_on_the_page(made: Made, page: str) -> None:
    assert str(made.layout.root) not in page
    assert str(Path.home()) not in page


@pytest.mark.slow
def test_same_run_same_bytes(made: Made, page: str) -> None:
    assert build_report(made.layout)[0].read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    "kept", [(), ("run.json",), ("run.json", "tables/knees.parquet", "tables/registration.parquet")]
)
def test_a_partial_run_has_a_page_that_says_what_is_missing(
    made: Made, tmp_path: Path, kept: tuple[str, ...]
) -> None:
    layout = RunLayout(root=tmp_path / "part")
    for name in kept:
        (layout.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made.layout.root / name, layout.root / name)
    page = build_report(layout)[0].read_text(encoding="utf-8")
    assert "no table “predictions”" in page
    assert ("registration-refused" in page) == bool(kept)
    assert ("no table “knees”" in page) == (len(kept) < 2)


def test_a_knee_without_mr_has_no_overlay(made: Made) -> None:
    assert knee_images(made.layout, Knee(participant="001", side="R")) is not None
    assert knee_images(made.layout, Knee(participant="002", side="L")) is None


def test_a_refused_bone_is_not_drawn_through_its_matrix(made: Made, tmp_path: Path) -> None:
    knee = Knee(participant="001", side="R")
    layout = RunLayout(root=tmp_path / "refused")
    shutil.copytree(made.layout.root, layout.root)
    path = layout.transform(knee, "tibia")
    found = json.loads(path.read_text())
    found["quality"] |= {"accepted": False, "reason": "no-overlap"}
    path.write_text(json.dumps(found))
    images = knee_images(layout, knee)
    assert images is not None
    assert set(images.poses) == {"femur"}


def test_the_report_shows_a_refused_bone_and_opens_its_picture(made: Made, tmp_path: Path) -> None:
    layout = RunLayout(root=tmp_path / "lost")
    shutil.copytree(made.layout.root, layout.root)
    table = read_table(layout.table("registration"))
    assert set(table.loc[~table["accepted"], "participant"]) == {"001"}
    for participant in ("001", "002"):
        path = layout.qc_thumbnail(Knee(participant=participant, side="R"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(participant.encode())
    page = build_report(layout)[0].read_text(encoding="utf-8")
    picture = layout.qc_picture(Knee(participant="001", side="R"))
    assert page.count("Bones and registration of") == 1
    assert f'<a href="{picture.relative_to(layout.root)}">' in page
