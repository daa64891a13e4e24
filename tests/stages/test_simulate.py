import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from srrd_ray.simulation.cohort import View
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.stages.simulate import knee_paths, simulate_knee, write_tables
from srrd_ray.storage.tables import read_table

pytestmark = pytest.mark.slow

TINY = View(ct_mm=(66.0, 14.0, 24.0), mr_mm=(60.0, 10.0, 19.0), center_mm=(0, 0, 0), truth_voxel_mm=0.3)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort")
    plans = simulate_cohort_plan(18, 5)[:2]
    write_tables(plans, out)
    simulate_knee(plans[0], out, TINY)
    return out


def test_the_files_of_a_cohort_are_where_its_layout_says(cohort: Path) -> None:
    plan = simulate_cohort_plan(18, 5)[0]
    assert all(path.is_file() for path in knee_paths(plan.knee, cohort))
    assert not list(cohort.rglob("*.partial"))


def test_a_knee_written_again_elsewhere_has_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    plan = simulate_cohort_plan(18, 5)[0]
    again = simulate_knee(plan, tmp_path, TINY)
    for path, old in zip(again, knee_paths(plan.knee, cohort), strict=True):
        assert path.read_bytes() == old.read_bytes(), path.name


def test_a_knee_written_into_an_object_store_has_the_same_bytes(cohort: Path, bucket: Path) -> None:
    plan = simulate_cohort_plan(18, 5)[0]
    simulate_knee(plan, bucket / "cohort", TINY)
    stored = knee_paths(plan.knee, bucket / "cohort")
    for there, here in zip(stored, knee_paths(plan.knee, cohort), strict=True):
        assert there.read_bytes() == here.read_bytes(), here.name


def test_both_affines_of_the_nifti_agree_and_units_are_mm(cohort: Path) -> None:
    for path in knee_paths(simulate_cohort_plan(18, 5)[0].knee, cohort)[:3]:
        header = nib.load(path).header
        np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
        assert header.get_xyzt_units()[0] == "mm"


def test_the_truth_names_transforms_landmarks_and_disease(cohort: Path) -> None:
    plan = simulate_cohort_plan(18, 5)[0]
    *_, cells, truth = knee_paths(plan.knee, cohort)
    data = json.loads(truth.read_text())
    assert data["schema"] == "srrd-truth/1"
    assert np.shape(data["transforms"]["femur"]) == (4, 4)
    assert len(data["landmarks_ct_lps"]["tibia"]) >= 12
    assert (data["kl_grade"], data["oa"]) == (plan.kl_grade, plan.oa)
    assert set(read_table(cells)["bone"]) == {"femur", "tibia"}


def test_the_tables_name_every_knee_once(cohort: Path) -> None:
    knees = (cohort / "knees.tsv").read_text().splitlines()
    assert knees[0].split("\t") == ["participant_id", "side", "kl_grade", "oa"]
    assert len(knees) == 3
    people = (cohort / "participants.tsv").read_text().splitlines()
    assert people[0].split("\t")[:3] == ["participant_id", "age", "sex"]
