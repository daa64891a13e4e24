from pathlib import Path

import pytest

from srrd_ray.errors import ConfigError, InputError
from srrd_ray.io.cohort import read_cohort
from srrd_ray.io.pseudonyms import pseudonym, pseudonymised
from srrd_ray.layout import RunLayout
from srrd_ray.records import Knee
from srrd_ray.stages.ingest import IngestConfig, ingest
from tests.io import makers

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
    cohort = pseudonymised(read_cohort(makers.cohort(tmp_path / "cohort", people=PEOPLE)), KEY)
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
        k for k in pseudonymised(read_cohort(root), KEY).knees if k.knee.participant == pseudonym(name[4:], KEY)
    )
    with pytest.raises(InputError) as caught:
        ingest(knee, RunLayout(root=tmp_path / "run"), IngestConfig())
    assert "Winterbottom" not in str(caught.value)
    assert f"sub-{knee.knee.participant}_side-L_ct.nii.gz" in str(caught.value)
    assert caught.value.__cause__ is None
