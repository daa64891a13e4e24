"""The engine skips what stands, redoes what is gone and all that depends on it, and leaves failed knees behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Knee
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.lock import locked
from srrd_ray.execution.runner import COHORT, Engine, Stage
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.manifest import Ledger, refuse_other_run
from srrd_ray.storage.layout import RunLayout

COHORT_HASH = "ab" * 32
KNEES = [Knee(participant=f"{i}", side="L") for i in range(3)]


@dataclass(frozen=True)
class Toy:
    """Writes a file a unit; `bad` is refused."""

    root: Path
    name: str
    bad: str = ""

    def __call__(self, unit: WorkItem) -> Produced:
        if unit.name == self.bad:
            raise InputError("toy-fault", "bad knee", where=unit.name)
        path = self.root / f"{self.name}-{unit.name}.txt"
        path.write_text(unit.name)
        return Produced(paths=(path,))


def run(root: Path, bad: str = "", seed: int = 1, *, verify: bool = False) -> Ledger:
    """Run two stages over knees and one over the cohort."""
    ledger = Ledger(layout=RunLayout(root=root), config=RunConfig(seed=seed), cohort=COHORT_HASH)
    engine = Engine(ledger=ledger, knees=list(KNEES), verify=verify)
    first = Stage(name="first", settings=seed, needs=lambda _: [])
    second = Stage(name="second", settings=None, needs=lambda unit: [("first", unit.name)])
    last = Stage(name="last", settings=None, needs=lambda _: [t for t in engine.hashes if t[0] == "second"])
    with locked(root):
        engine.each_knee(first, Toy(root, "first", bad))
        engine.each_knee(second, Toy(root, "second"))
        engine.once(last, Toy(root, "last"))
        ledger.write("finished", 0)
    return ledger


@dataclass(frozen=True)
class Struck:
    """Leaves half a file in the folder of every knee, as a worker does that is killed while it writes."""

    root: Path

    def __call__(self, unit: WorkItem) -> Produced:
        half = self.root / "volumes" / unit.name / ".ct.ome.zarr.0123456789ab.partial"
        half.mkdir(parents=True)
        (half / "zarr.json").write_text("{")
        raise InputError("toy-fault", "bad knee", where=unit.name)


def test_half_of_a_file_of_a_knee_that_never_succeeds_is_removed(cluster: ClusterConfig, tmp_path: Path) -> None:
    ledger = Ledger(layout=RunLayout(root=tmp_path), config=RunConfig(), cohort=COHORT_HASH)
    with locked(tmp_path):
        Engine(ledger=ledger, knees=list(KNEES)).each_knee(
            Stage(name="first", settings=None, needs=lambda _: []), Struck(tmp_path)
        )
    assert [outcome.status for outcome in ledger.outcomes] == ["failed"] * 3
    assert [path for path in (tmp_path / "volumes").rglob("*") if path.is_file()] == []
    assert list((tmp_path / "volumes").rglob("*.partial")) == []


def statuses(ledger: Ledger) -> dict[str, str]:
    return {f"{o.stage} {o.knee.participant if o.knee else COHORT}": o.status for o in ledger.outcomes}


ALL = {f"{stage} {knee.participant}" for stage in ("first", "second") for knee in KNEES} | {f"last {COHORT}"}


def test_a_second_run_skips_everything(cluster: ClusterConfig, tmp_path: Path) -> None:
    assert statuses(run(tmp_path)) == dict.fromkeys(ALL, "done")
    assert statuses(run(tmp_path)) == dict.fromkeys(ALL, "skipped")


def test_a_deleted_output_is_redone_with_what_depends_on_it(cluster: ClusterConfig, tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / f"first-{KNEES[1].key}.txt").unlink()
    found = statuses(run(tmp_path))
    assert {name for name, status in found.items() if status == "done"} == {"first 1", "second 1", f"last {COHORT}"}


def test_a_flipped_bit_is_found_by_verify_and_redone_with_what_depends_on_it(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    run(tmp_path)
    path = tmp_path / f"first-{KNEES[1].key}.txt"
    right = path.read_bytes()
    path.write_bytes(bytes([right[0] ^ 1]) + right[1:])
    assert set(statuses(run(tmp_path)).values()) == {"skipped"}, "sizes alone do not show it"
    found = statuses(run(tmp_path, verify=True))
    assert {name for name, status in found.items() if status == "done"} == {"first 1", "second 1", f"last {COHORT}"}
    assert path.read_bytes() == right


def test_another_setting_redoes_its_stage(cluster: ClusterConfig, tmp_path: Path) -> None:
    run(tmp_path)
    found = statuses(run(tmp_path, seed=2))
    assert found == dict.fromkeys(ALL, "done")


def test_a_failed_knee_is_left_behind_and_tried_again(cluster: ClusterConfig, tmp_path: Path) -> None:
    found = statuses(run(tmp_path, bad=KNEES[0].key))
    assert found["first 0"] == "failed"
    assert "second 0" not in found
    assert found[f"last {COHORT}"] == "done"
    mended = statuses(run(tmp_path))
    assert mended["first 0"] == mended["second 0"] == mended[f"last {COHORT}"] == "done"
    assert mended["second 1"] == "skipped"


def test_a_folder_with_another_configuration_is_refused(cluster: ClusterConfig, tmp_path: Path) -> None:
    ledger = run(tmp_path)
    refuse_other_run(ledger.layout, RunConfig(seed=1), COHORT_HASH, overwrite=False)
    with pytest.raises(ValueError, match="--overwrite"):
        refuse_other_run(ledger.layout, RunConfig(seed=5), COHORT_HASH, overwrite=False)
    refuse_other_run(ledger.layout, RunConfig(seed=5), COHORT_HASH, overwrite=True)
