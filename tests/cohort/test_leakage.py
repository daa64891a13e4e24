"""One image under two participants is a leak; one image twice of one participant is not."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from srrd_ray.cohort.check import check
from srrd_ray.cohort.leakage import leak_error, leaks
from srrd_ray.core.records import Knee
from tests.imaging import makers

KNEES = st.builds(Knee, participant=st.sampled_from("ABCD"), side=st.sampled_from(["L", "R"]))
IMAGES = st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), KNEES), max_size=12)


@given(IMAGES)
def test_participants_leak_exactly_where_they_share_an_image(images: list[tuple[str, Knee]]) -> None:
    found = {
        frozenset(pair) for knees in leaks(images) for pair in combinations({k.participant for k in knees}, 2)
    }
    expected = {
        frozenset((a.participant, b.participant))
        for (x, a), (y, b) in combinations(images, 2)
        if x == y and a.participant != b.participant
    }
    assert found == expected
    assert leaks(images[::-1]) == leaks(images)


def test_the_refusal_names_the_knees() -> None:
    (knees,) = leaks([("x", Knee(participant="B", side="L")), ("x", Knee(participant="A", side="R"))])
    assert leak_error(knees).where == "sub-A_side-R, sub-B_side-L"


def test_one_image_for_both_knees_of_a_participant_is_flagged_and_stops_nothing(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort", people=("A1", "B2"), sides=("L", "R"))
    stem = "sub-A1/ct/sub-A1_side-{}_ct.nii.gz"
    (root / stem.format("R")).write_bytes((root / stem.format("L")).read_bytes())
    found = [
        finding for finding in check(root).findings if finding.code in ("image-twice", "leakage-same-image")
    ]
    assert [(finding.severity, finding.code) for finding in found] == [("FLAG", "image-twice")]
    assert "sub-A1_side-L, sub-A1_side-R" in found[0].message
