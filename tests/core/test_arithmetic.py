"""A run says what it was calculated with, and one that goes on with another arithmetic is told so, once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.core import arithmetic, serial
from srrd_ray.core.arithmetic import Arithmetic, here, processor_of
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.manifest_writer import refuse_other_run
from srrd_ray.pipeline.status import read_status
from srrd_ray.storage.layout import RunLayout
from tests.running import manifest_of, writer

COHORT = "ab" * 32
ROOT = Path(__file__).resolve().parents[2]
OTHER = Arithmetic(
    machine="aarch64", processor="Other", instructions=("NEON",), blas="other 1", chosen={"MKL_CBWR": "AVX"}
)


def stored(root: Path, **changes: object) -> RunLayout:
    """A finished run whose record has `changes`; null takes a key away."""
    layout = RunLayout(root=root)
    writer(root).write("finished", 0)
    data = json.loads(layout.run_json.read_text()) | changes
    layout.run_json.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    return layout


def warned(layout: RunLayout, caplog: pytest.LogCaptureFixture, *, overwrite: bool = False) -> list[str]:
    caplog.clear()
    refuse_other_run(layout, RunConfig(), COHORT, overwrite=overwrite)
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_record_survives_its_json() -> None:
    for one in (OTHER, here(), Arithmetic()):
        assert serial.from_json(Arithmetic, serial.to_json(one)) == one


def test_this_process_is_described_with_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("MKL_CBWR", "/home/agatha")
    found = here()
    assert found.machine
    assert found.instructions
    assert found.blas
    assert found.chosen["OPENBLAS_CORETYPE"] == "Prescott"
    assert found.chosen["MKL_CBWR"] == arithmetic.UNKNOWN


def test_describing_it_imports_no_library_besides_numpy() -> None:
    code = "import sys, srrd_ray.core.arithmetic as a; a.here(); print([m for m in sys.modules if m in sys.argv[1:]])"
    slow = ["torch", "scipy", "numba", "ray", "SimpleITK", "pandas"]
    found = subprocess.run(
        [sys.executable, "-c", code, *slow], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "[]"


def test_a_processor_without_a_model_name_is_what_python_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert processor_of("processor : 0\nFeatures : fp asimd\n") == "arm"


def test_differences_name_both_values_and_what_is_not_known_does_not_differ() -> None:
    other = replace(OTHER, processor="Third", chosen={})
    assert OTHER.differences(other) == ("processor Other, now Third", "chosen MKL_CBWR=AVX, now none")
    assert (
        OTHER.differences(OTHER) == OTHER.differences(Arithmetic()) == Arithmetic().differences(OTHER) == ()
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_goes_on_elsewhere_is_told_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, overwrite: bool
) -> None:
    layout = stored(tmp_path, arithmetic=json.loads(serial.to_json(replace(here(), processor="Other"))))
    (words,) = warned(layout, caplog, overwrite=overwrite)
    assert f"processor Other, now {here().processor or 'unknown'}" in words
    writer(layout.root).write("running", None)
    assert warned(layout, caplog, overwrite=overwrite) == []


def test_another_version_of_a_library_is_told_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = stored(tmp_path)
    data = json.loads(layout.run_json.read_text())
    now = data["libraries"]["numpy"]
    (words,) = warned(stored(tmp_path, libraries=data["libraries"] | {"numpy": "1.0"}), caplog)
    assert f"numpy 1.0, now {now}" in words


def test_a_run_that_was_begun_before_this_was_recorded_is_read_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = stored(tmp_path, arithmetic=None)
    assert warned(layout, caplog) == []
    assert manifest_of(layout.root).arithmetic == Arithmetic()
    assert read_status(layout).phase == "finished"


def settings(number: str) -> str:
    return subprocess.run(
        [ROOT / ".ci" / "arithmetic", number], capture_output=True, text=True, check=True
    ).stdout


def test_every_test_setting_sets_one_variable_and_no_two_are_alike() -> None:
    found = [settings(str(number)).split() for number in range(10)]
    assert found[0] == []
    assert all(len(names) == 1 for names in found[1:])
    assert len({name for (name,) in found[1:]}) == 9
    with pytest.raises(subprocess.CalledProcessError):
        settings("10")
