from __future__ import annotations

from dataclasses import replace

import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.stages.shared.invention_notes import _bone_lines
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.invention import Invention

CONFIG = CycleGanConfig()


def test_what_somebody_should_look_at_is_flagged_with_its_figure() -> None:
    assert _bone_lines(Invention(invented=0.02, open=0.01), CONFIG) == [
        "INFO synthesis-invented: bone where the MR has none: 2% of the bone in the MR",
        "INFO synthesis-open: no cortex over 1% of the surface of the bones in the MR",
    ]
    flagged = _bone_lines(Invention(invented=0.3, open=0.4), CONFIG)
    assert [line.split(":")[0] for line in flagged] == ["FLAG synthesis-invented", "FLAG synthesis-open"]


def test_more_invented_bone_than_the_limit_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        _bone_lines(Invention(invented=0.3, open=0.0), replace(CONFIG, most_invented=0.2))
    assert caught.value.code == "synthesis-invented"
    assert "got 30% of the bone in the MR, expected at most 20%" in str(caught.value)
