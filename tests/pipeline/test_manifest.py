import json
from pathlib import Path

import pytest

from srrd_ray.core import serial
from srrd_ray.core.errors import StoreError
from srrd_ray.core.records import Knee, Outcome
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.manifest import NO_OUTCOMES, OUTCOMES, Ledger, RunRecord
from srrd_ray.storage.layout import RunLayout


def outcome(number: int, seconds: float = 1.0) -> Outcome:
    return Outcome(knee=Knee(participant=f"{number:03d}", side="L"), stage="ingest", status="done", seconds=seconds)


def test_every_outcome_is_checked_when_it_is_first_written_and_all_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(layout=RunLayout(root=tmp_path), config=RunConfig(), cohort="ab" * 32)
    for number in range(3):
        ledger.record([outcome(number)], 4)
        ledger.write("running", None)
    kept = json.loads(ledger.layout.run_json.read_text())["outcomes"]
    assert [found["knee"]["participant"] for found in kept] == ["000", "001", "002"]
    ledger.record([outcome(3, seconds=-1.0)], 4)
    with pytest.raises(StoreError, match="schema-invalid"):
        ledger.write("running", None)


def test_an_outcome_is_put_into_words_once_however_many_stages_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, to_line = Ledger(layout=RunLayout(root=tmp_path), config=RunConfig(), cohort="ab" * 32), serial.to_line
    words: list[object] = []

    def noted(record: object) -> str:
        words.append(record)
        return to_line(record)

    monkeypatch.setattr(serial, "to_line", noted)
    ledger.record([outcome(number) for number in range(50)], 50)
    for _ in range(10):
        ledger.write("running", None)
    assert len(words) <= 50 + 2, "two more stand for all before the schema"


def test_the_book_that_was_put_together_is_the_one_that_is_read(tmp_path: Path) -> None:
    ledger = Ledger(layout=RunLayout(root=tmp_path), config=RunConfig(), cohort="ab" * 32)
    ledger.write("running", None)
    for number in range(3):
        ledger.record([outcome(number)], 3)
        ledger.write("running", None)
    record = serial.from_json(RunRecord, ledger.layout.run_json.read_text())
    assert record.outcomes == tuple(ledger.outcomes)
    whole = tmp_path / "whole.json"
    whole.write_text(serial.to_json(record))
    for text in (ledger.layout.run_json.read_text(), whole.read_text()):
        assert serial.from_json(RunRecord, OUTCOMES.sub(NO_OUTCOMES, text)).outcomes == ()
