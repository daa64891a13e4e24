"""What was altered, torn or exchanged is found, file by file; nothing is unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from srrd_ray.cli import main
from srrd_ray.sharing.export import ExportRequest, export_model
from srrd_ray.sharing.verify import verify
from srrd_ray.stages.shared.precision import write_precision
from tests.stages.shared.test_precision import record_of


def failed(folder: Path) -> dict[str, str]:
    return {check.name: check.told for check in verify(folder, onnx=False) if check.status == "FAIL"}


@pytest.mark.parametrize("kind", ["student", "segmenter"])
def test_a_model_as_it_was_written_is_right(kind: str, request: pytest.FixtureRequest) -> None:
    assert failed(request.getfixturevalue(kind)) == {}


@pytest.mark.parametrize("kind", ["student", "segmenter"])
def test_one_flipped_bit_of_a_weight_is_found(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    path = sorted(folder.glob("*.safetensors"))[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert "model-altered" in failed(folder)[path.name]


def test_a_card_that_does_not_obey_its_schema_is_found(student: Path) -> None:
    card = json.loads((student / "model.json").read_text())
    card["weights"]["fold-0.safetensors"] = "no hash"
    (student / "model.json").write_text(json.dumps(card))
    assert "schema-invalid" in failed(student)["model.json"]


def test_a_precision_of_other_weights_is_found(student: Path) -> None:
    write_precision(student, record_of(student))
    assert failed(student) == {}
    path = student / "precision.json"
    path.write_text(path.read_text().replace(record_of(student).weights["fold-0.safetensors"], "0" * 64))
    assert "model-altered" in failed(student)["precision.json"]


def test_weights_that_are_a_pickle_are_never_opened(student: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "opened",)

    (student / "fold-0.safetensors").write_bytes(pickle.dumps(Trap()))
    (student / "optimizer.pt").write_bytes(pickle.dumps(Trap()))
    found = {check.name: check.status for check in verify(student, onnx=False)}
    assert found["fold-0.safetensors"] == "FAIL"
    assert found["optimizer.pt"] == "NOTE"
    assert not (tmp_path / "opened").exists()


def test_the_checksums_of_an_exported_model_are_checked(student: Path, tmp_path: Path) -> None:
    out = export_model(ExportRequest(model=student, out=tmp_path / "out"))
    assert failed(out) == {}
    (out / "metrics.json").write_text("{}")
    assert "SHA256SUMS" in failed(out)["metrics.json"]


def test_checksums_lead_to_no_file_outside(student: Path, tmp_path: Path) -> None:
    (student / "SHA256SUMS").write_text(f"{'0' * 64}  ../../metrics.json\n{'0' * 64}  /etc/hostname\n")
    assert failed(student) == {}


def test_the_command_ends_with_one_and_says_what_to_do(
    student: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (student / "fold-1.safetensors").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["model", "verify", str(student)])
    assert ended.value.code == 1
    shown = capsys.readouterr().out
    assert "FAIL  fold-1.safetensors" in shown
    assert "Copy the whole folder again" in shown
    assert "OK    fold-0.safetensors" in shown
