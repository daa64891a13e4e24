from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.simulation.cohort import View
from srrd_ray.simulation.frozen import constants_sha256
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.stages.gallery import write_gallery
from srrd_ray.stages.simulate import Scans, simulate_knee

TINY = View(ct_mm=(66.0, 18.0, 24.0), mr_mm=(62.0, 14.0, 20.0), center_mm=(0, 0, 0), truth_voxel_mm=0.3)


@pytest.mark.slow
def test_the_page_shows_a_healthy_and_a_diseased_knee_the_bone_and_the_scanners(tmp_path: Path) -> None:
    plans = [
        replace(plan, kl_grade=grade) for plan, grade in zip(simulate_cohort_plan(2, 3), (0, 2), strict=True)
    ]
    for plan, dicom in zip(plans, (False, True), strict=True):
        simulate_knee(plan, tmp_path, TINY, Scans(dicom=dicom))
    page = write_gallery(tmp_path, plans).read_text(encoding="utf-8")
    for plan in plans:
        assert f"{plan.knee.key}: KL {plan.kl_grade}" in page
    assert page.count("<img") == 3 * len(plans) + 3
    assert constants_sha256()[:16] in page
