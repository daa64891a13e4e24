import pytest

from srrd_ray.pipeline import simulated_cohort as simulate
from srrd_ray.pipeline.simulated_cohort import KNEES, work_items
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.stages.simulate import Scans


def keys(scans: Scans, seed: int = 1) -> tuple[str, ...]:
    return tuple(
        item.input_hash for item in work_items({p.knee.key: p for p in simulate_cohort_plan(3, seed)}, scans)
    )


def test_a_knee_is_made_anew_for_another_seed_sequence_or_format_and_only_then() -> None:
    assert keys(Scans()) == keys(Scans())
    others = [keys(Scans(mr="dess")), keys(Scans(mr="pd")), keys(Scans(dicom=True)), keys(Scans(), seed=2)]
    assert len({*keys(Scans()), *(key for made in others for key in made)}) == 15


def test_a_knee_made_with_other_constants_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(Scans())
    monkeypatch.setattr(simulate, "constants_sha256", lambda: "other")
    assert not set(before) & set(keys(Scans()))


def test_the_paper_has_eighty_people_and_the_quick_cohort_sixteen_unless_asked_otherwise() -> None:
    people = {
        name: len({p.knee.participant for p in simulate_cohort_plan(n, 1, name)}) for name, n in KNEES.items()
    }
    assert people == {"quick": 16, "joint": 16, "paper": 80}
