"""A DICOM cohort full of names, dates, UIDs and record numbers leaves none of them: not in files, log, summary or report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from srrd_ray.cli import main
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.storage.layout import RunLayout
from tests import planted
from tests.imaging import makers
from tests.running import STAGE_NAMES, run

SHORT = {"synthesis": {"start": "random", "epochs": 1}}


def told(out: Path, cohort: Path, until: str) -> int:
    """Return the exit code of a planted cohort's run under pseudonyms, after asking for its status and a bundle for support."""
    config = out.parent / "run.yaml"
    config.write_text(yaml.safe_dump(SHORT))
    key = planted.key_file(out.parent)
    code = run(cohort, out, config, until=until, pseudonym_key=key)
    for command in (
        ["status", str(out), "--json"],
        ["support", str(out), str(out.parent / "outside" / "help.zip")],
    ):
        with pytest.raises(SystemExit):
            main(command)
    return code


def broken(cohort: Path) -> None:
    """Tear a slice of the first knee, and take one away from the second, so that both are refused."""
    first, second = sorted(cohort.glob("sub-*/ct/*"))[:2]
    torn = sorted(first.iterdir())[3]
    torn.write_bytes(torn.read_bytes()[:-9])
    sorted(second.iterdir())[3].unlink()


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    small = makers.cohort(tmp_path / "small", people=("1", "2", "3"))
    (tmp_path / "outside").mkdir()
    return planted.planted_cohort(small, tmp_path / "cohort")


def test_the_search_finds_what_is_planted_in_names_bytes_and_compressed_bytes(
    sound: Path, tmp_path: Path
) -> None:
    found = {secret for secret, _ in planted.leaks(sound)}
    assert found == set(planted.SECRETS) - {planted.KEY.decode()}
    packed = makers.nifti(tmp_path / "packed" / "a.nii.gz", makers.bone())
    assert makers.NAME.encode() not in packed.read_bytes()
    assert planted.leaks(packed.parent) == [("Winterbottom", "a.nii.gz"), ("Agatha", "a.nii.gz")]


def test_the_check_of_a_planted_cohort_tells_no_name(
    sound: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken(sound)
    with pytest.raises(SystemExit) as end:
        main(["check", str(sound), "--json", str(tmp_path / "outside" / "check.json")])
    assert end.value.code == 1
    shown = capfd.readouterr()
    findings = json.loads((tmp_path / "outside" / "check.json").read_text())["findings"]
    assert {one["code"] for one in findings} >= {"dicom-truncated", "dicom-gap"}
    secrets = tuple(
        secret for secret in planted.SECRETS if secret != makers.MRN
    )  # the ids of the tables are shown
    assert [secret for secret in secrets if secret in shown.out + shown.err] == []
    assert planted.leaks(tmp_path / "outside", secrets) == []


def test_a_run_that_refuses_knees_tells_no_name(
    cluster: ClusterConfig,
    sound: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    broken(sound)
    assert told(tmp_path / "run", sound, "ingest") == 1
    _assert_silent(tmp_path, caplog, capfd)
    record = json.loads(RunLayout(root=tmp_path / "run").run_json.read_text())
    assert {o["error"]["code"] for o in record["outcomes"] if o["error"]} == {"dicom-truncated", "dicom-gap"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_to_the_measures_tells_no_name(
    cluster: ClusterConfig,
    simulated: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "outside").mkdir()
    cohort = planted.planted_cohort(simulated, tmp_path / "cohort", most=2)
    caplog.clear()
    capfd.readouterr()
    code = told(
        tmp_path / "run", cohort, "measure"
    )  # a synthesis of one epoch may lose a knee: what it leaves is searched too
    record = json.loads(RunLayout(root=tmp_path / "run").run_json.read_text())
    assert code == (1 if any(o["error"] for o in record["outcomes"]) else 0)
    assert [stage["stage"] for stage in record["stages"]] == list(
        STAGE_NAMES[: STAGE_NAMES.index("measure") + 1]
    )
    kinds = {path.suffix for path in (tmp_path / "run").rglob("*")}
    assert kinds >= {".zarr", ".parquet", ".json", ".safetensors"}
    _assert_silent(tmp_path, caplog, capfd)


def _assert_silent(root: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing planted is in the run, the bundle, the log or what was printed; pseudonyms are."""
    shown = capfd.readouterr()
    text = caplog.text + shown.out + shown.err
    assert [secret for secret in planted.SECRETS if secret in text] == []
    assert planted.leaks(root / "run") == []
    assert planted.leaks(root / "outside") == []
    volumes = {path.name.split("_")[0] for path in (root / "run" / "volumes").iterdir()}
    assert volumes <= {f"sub-{name}" for name in planted.names(root / "cohort")}
    assert volumes
