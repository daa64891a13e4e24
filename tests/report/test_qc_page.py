from __future__ import annotations

import pytest

from srrd_ray.core.records import Fault, Knee, Outcome
from srrd_ray.report.page import SIMULATED_COHORT, render
from srrd_ray.report.qc_page import PER_PAGE, KneePicture, count_pages, qc_page


def pictures(number: int) -> list[KneePicture]:
    return [
        KneePicture(name=f"sub-{n:03d}_side-L", words="femur <accepted>", thumbnail=b"RIFF", file=f"{n}.webp")
        for n in range(number)
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_every_knee_is_on_one_page_and_opens_its_picture(number: int) -> None:
    shown = pictures(PER_PAGE + 3)
    files = ["index.html", "page-2.html"]
    assert count_pages(len(shown)) == len(files)
    page = render(qc_page(shown, files, number))
    here = shown[:PER_PAGE] if number == 1 else shown[PER_PAGE:]
    assert [one.name for one in shown if f"{one.name}:" in page] == [one.name for one in here]
    assert all(f'<a href="{one.file}"><img src="data:image/webp;base64,' in page for one in here)
    assert f'<a href="{files[2 - number]}">' in page
    assert f'<a href="{files[number - 1]}">' not in page
    assert "femur &lt;accepted&gt;" in page


def test_knees_that_have_no_picture_are_told_on_the_first_page() -> None:
    knee = Knee(participant="9", side="R")
    fault = Fault(code="not-a-knee", message="[not-a-knee] no knee in the image")
    lost = [Outcome(knee=knee, stage="ingest", status="failed", seconds=0.0, error=fault)]
    files = ["index.html", "page-2.html"]
    first, second = (render(qc_page(pictures(PER_PAGE + 1), files, n, lost=lost)) for n in (1, 2))
    assert "no knee in the image" in first
    assert "no knee in the image" not in second


@pytest.mark.parametrize("number", [1, 2])
def test_pictures_of_simulated_knees_are_called_so_on_every_page(number: int) -> None:
    shown, files = pictures(PER_PAGE + 1), ["index.html", "page-2.html"]
    assert SIMULATED_COHORT in render(qc_page(shown, files, number, simulated=True))
    assert SIMULATED_COHORT not in render(qc_page(shown, files, number))
