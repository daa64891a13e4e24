import json
from pathlib import Path

import pytest

from srrd_ray.config import RunConfig
from srrd_ray.errors import StoreError
from srrd_ray.layout import RunLayout
from srrd_ray.ledger import Ledger
from srrd_ray.records import Knee, Outcome


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
