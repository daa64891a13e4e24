"""A file with changed bytes is read or refused with a code; `benchmarks/fuzz.py` does the same for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzzing import TARGETS, try_case

CASES = 12


@pytest.mark.parametrize("name", TARGETS)
def test_a_broken_file_is_read_or_refused_with_a_code(tmp_path: Path, name: str) -> None:
    (tmp_path / "sound").mkdir()
    TARGETS[name].make(tmp_path / "sound")
    assert TARGETS[name].read(tmp_path / "sound") > 0
    outcomes = [try_case(TARGETS[name], tmp_path / "sound", tmp_path / "case", seed) for seed in range(CASES)]
    assert [outcome for outcome in outcomes if outcome.startswith("BAD")] == []
    assert set(outcomes) - {"read"}, "the changes reach the reader"
