from pathlib import Path

import pytest

from srrd_ray.cohort.pseudonyms import pseudonym, pseudonymise, read_key
from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.core.records import Knee
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.stages.ingest import IngestConfig, ingest
from srrd_ray.storage.layout import RunLayout
from tests.imaging import makers
from tests.running import run

KEY, OTHER = b"0123456789abcdef", b"fedcba9876543210"
PEOPLE = ("Winterbottom33", "B2")


def test_a_pseudonym_depends_on_id_and_key_and_is_fit_for_a_path() -> None:
    names = {pseudonym(person, key) for person in ("A1", "A2") for key in (KEY, OTHER)}
    assert len(names) == 4
    assert pseudonym("A1", KEY) == pseudonym("A1", KEY)
    for name in names:
        Knee(participant=name, side="L")


def test_a_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="key-too-short"):
        pseudonym("A1", b"secret")


def test_nothing_of_the_id_on_disk_is_in_any_byte_of_the_run(tmp_path: Path) -> None:
    cohort = pseudonymise(read_cohort(makers.cohort(tmp_path / "cohort", people=PEOPLE)), KEY)
    for knee in cohort.knees:
        ingest(knee, RunLayout(root=tmp_path / "run"), IngestConfig())
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 6
    for file in files:
        assert b"Winterbottom" not in file.read_bytes()
        assert "Winterbottom" not in str(file.relative_to(tmp_path))


def test_errors_carry_the_pseudonym_and_not_the_id_on_disk(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort", people=PEOPLE)
    name = "sub-Winterbottom33"
    torn = root / name / "ct" / f"{name}_side-L_ct.nii.gz"
    torn.write_bytes(torn.read_bytes()[:-99])
    knee = next(
        k
        for k in pseudonymise(read_cohort(root), KEY).knees
        if k.knee.participant == pseudonym(name[4:], KEY)
    )
    with pytest.raises(InputError) as caught:
        ingest(knee, RunLayout(root=tmp_path / "run"), IngestConfig())
    assert "Winterbottom" not in str(caught.value)
    assert f"sub-{knee.knee.participant}_side-L_ct.nii.gz" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_run_under_pseudonyms_tells_no_name_in_files_log_or_summary(
    cluster: ClusterConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cohort, key = makers.cohort(tmp_path / "cohort", people=PEOPLE), tmp_path / "key"
    broken = next((cohort / "sub-B2" / "ct").iterdir())
    broken.write_bytes(broken.read_bytes()[:300])
    key.write_bytes(KEY)
    caplog.set_level("INFO")
    assert run(cohort, tmp_path / "out", until="ingest", pseudonym_key=key) == 1
    told = caplog.text + capsys.readouterr().out
    assert pseudonym("Winterbottom33", KEY) in told
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 6
    for name in ("Winterbottom", "sub-B2", str(key), KEY.decode()):
        assert name not in told
        assert [f for f in files if name.encode() in f.read_bytes() or name in f.name] == []


def test_a_key_that_is_not_there_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key-unreadable") as caught:
        read_key(tmp_path / "secret-place")
    assert "secret-place" not in str(caught.value)
