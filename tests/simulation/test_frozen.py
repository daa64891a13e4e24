import pytest

from srrd_ray.simulation import ct
from srrd_ray.simulation.frozen import CONSTANTS_SHA256, constants, constants_sha256


def test_the_constants_are_those_that_were_calibrated() -> None:
    assert constants_sha256() == CONSTANTS_SHA256, (
        "another constant makes another cohort: calibrate it and name it"
    )


def test_another_constant_has_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ct, "MINERAL_SD", 2 * ct.MINERAL_SD)
    assert constants_sha256() != CONSTANTS_SHA256


def test_protocols_priors_and_shapes_are_all_among_the_constants() -> None:
    wanted = {
        "ct.PROTOCOLS",
        "mr.PROTOCOLS",
        "microstructure.GRADE_EFFECT",
        "anatomy.OSTEOPHYTE_MM",
        "soft_tissue.FAT_PROFILE",
    }
    assert wanted <= constants().keys()
