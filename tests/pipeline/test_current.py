"""Figures of an earlier configuration, cohort or image are never those of this run."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.cli import main
from srrd_ray.cohort.tables import Cohort
from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Fault, Knee, Outcome, StageTime
from srrd_ray.execution.events import ItemEnded
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.sidecars import Sidecar
from srrd_ray.execution.work import Result, WorkItem
from srrd_ray.pipeline.current import FIGURES, OldFigures, outputs_of_run, read_outputs_of_run
from srrd_ray.pipeline.inputs import OutsideInputs
from srrd_ray.pipeline.manifest_writer import ManifestWriter
from srrd_ray.pipeline.run import RunRequest
from srrd_ray.pipeline.run import run as run_pipeline
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.pipeline.status import read_status
from srrd_ray.pipeline.summary import summary
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from tests.imaging import makers
from tests.running import STAGE_NAMES, writer

OLD = '{"diagnosis": {"distilled": {"auc": 0.99}}}'


def ended(root: Path, *stages: str) -> ManifestWriter:
    """A run in a folder that holds the metrics and the report of an earlier one."""
    write_text(root / "metrics.json", OLD)
    write_text(root / "report.html", "old")
    written = writer(root)
    written.times += [StageTime(stage=name, seconds=1.0) for name in stages]
    written.write("stopped", 1)
    return written


def test_a_layout_is_open_to_what_the_stages_of_the_run_have_written(tmp_path: Path) -> None:
    found = outputs_of_run(RunLayout(root=tmp_path), [StageTime(stage="tables", seconds=1.0)])
    assert found.opens("tables/knees")
    assert not found.opens("tables/diagnosis")
    assert not found.opens("metrics.json")
    every = outputs_of_run(RunLayout(root=tmp_path), [StageTime(stage=n, seconds=1.0) for n in STAGE_NAMES])
    assert all(every.opens(kind) for stage in STAGES for kind in stage.outputs)


def test_the_summary_has_no_figures_of_a_run_that_did_not_come_so_far(tmp_path: Path) -> None:
    assert "0.990" not in summary(ended(tmp_path, "ingest", "tables"))
    assert "AUC of osteoarthritis, distilled: 0.990" in summary(ended(tmp_path, "ingest", "evaluate"))


def test_the_status_has_no_report_of_an_earlier_run(tmp_path: Path) -> None:
    ended(tmp_path, "ingest")
    assert read_status(RunLayout(root=tmp_path)).report is None
    ended(tmp_path, *STAGE_NAMES)
    assert read_status(RunLayout(root=tmp_path)).report == str(tmp_path / "report.html")


def test_a_report_that_is_made_again_shows_no_figures_of_an_earlier_run(tmp_path: Path) -> None:
    ended(tmp_path, "ingest")
    with pytest.raises(SystemExit) as code:
        main(["report", str(tmp_path)])
    assert code.value.code == 0
    assert "0.99" not in (tmp_path / "report.html").read_text()
    assert read_status(RunLayout(root=tmp_path)).report == str(tmp_path / "report.html")


def test_a_folder_that_is_no_run_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as code:
        main(["report", str(tmp_path)])
    assert code.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_outputs_of_a_run_follow_from_its_manifest(tmp_path: Path) -> None:
    ended(tmp_path, "ingest", "evaluate")
    assert read_outputs_of_run(RunLayout(root=tmp_path)).opens("metrics.json")


def until_ingest(root: Path) -> int:
    request = RunRequest(cohort=root / "cohort", out=root / "run", until="ingest")
    return run_pipeline(request, lambda _: PlainLoop())


def test_what_is_new_takes_the_old_figures_away_and_what_is_up_to_date_leaves_them(tmp_path: Path) -> None:
    cohort = makers.cohort(tmp_path / "cohort")
    assert until_ingest(tmp_path) == 0
    for name in ("metrics.json", "report.html"):
        write_text(tmp_path / "run" / name, OLD)
    assert until_ingest(tmp_path) == 0
    assert (tmp_path / "run/metrics.json").read_text() == OLD
    image = next(cohort.glob("sub-A1/ct/*"))
    image.write_bytes(image.read_bytes() + b"")
    assert until_ingest(tmp_path) == 0
    assert not (tmp_path / "run/metrics.json").exists()
    assert not (tmp_path / "run/report.html").exists()


def test_a_run_that_stops_leaves_no_figures_that_are_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srrd_ray.execution.graph import StageGraph

    makers.cohort(tmp_path / "cohort")
    for name in ("metrics.json", "report.html"):
        write_text(tmp_path / "run" / name, OLD)

    def stop(_: StageGraph, __: object) -> None:
        raise InputError("toy-fault", "stopped")

    monkeypatch.setattr(StageGraph, "run_stage", stop)
    assert until_ingest(tmp_path) == 1
    assert not (tmp_path / "run/metrics.json").exists()
    assert not (tmp_path / "run/report.html").exists()


def old_figures(root: Path) -> None:
    for name in FIGURES.values():
        write_text(root / name, "old")


def figures(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def item_ended(stage: str, *, failed: bool = False) -> ItemEnded:
    item = WorkItem(name="cohort", input_hash="")
    written = Sidecar(stage=stage, item="cohort", input_hash="", software="", outputs=())
    result = Result(item="cohort", outcomes=(), sidecar=None if failed else written)
    return ItemEnded(stage=stage, item=item, result=result, total=1)


@pytest.mark.parametrize(
    ("stage", "kept"),
    [
        ("predict", []),
        ("evaluate", ["metrics.json", "models/README.md"]),
        ("report", ["metrics.json", "models/README.md", "qc/index.html", "report.html"]),
    ],
)
def test_what_is_new_removes_the_figures_that_depend_on_it_and_no_other(
    tmp_path: Path, stage: str, kept: list[str]
) -> None:
    old_figures(tmp_path)
    OldFigures(layout=RunLayout(root=tmp_path))(item_ended(stage))
    assert figures(tmp_path) == kept


def test_a_knee_that_fails_again_removes_no_figures(tmp_path: Path) -> None:
    old_figures(tmp_path)
    OldFigures(layout=RunLayout(root=tmp_path))(item_ended("register", failed=True))
    assert figures(tmp_path) == sorted(FIGURES.values())


def test_the_order_in_which_knees_fail_changes_no_hash(tmp_path: Path) -> None:
    fault = Fault(code="toy-fault", message="[toy-fault] bad")
    knees = [Knee(participant=name, side="L") for name in ("1", "2")]
    failed = [Outcome(knee=k, stage="register", status="failed", seconds=0.0, error=fault) for k in knees]
    hashes = set()
    for outcomes in (failed, failed[::-1]):
        manifest = writer(tmp_path)
        manifest.record(outcomes)
        hashes.add(
            OutsideInputs(cohort=Cohort(root=tmp_path, knees=()), manifest=manifest)("manifest", "cohort")
        )
    assert len(hashes) == 1
