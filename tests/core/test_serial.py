from dataclasses import dataclass, field
from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import BoneTransform, Knee, Outcome, RegistrationQuality
from srrd_ray.core.serial import from_json, from_yaml, to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    epochs: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    seed: int = 1
    inner: Inner = field(default_factory=Inner)


def read(path: Path, text: str) -> Outer:
    path.write_text(text)
    return from_yaml(Outer, path)


def test_absent_keys_keep_their_defaults(tmp_path: Path) -> None:
    assert read(tmp_path / "run.yaml", "inner: {epochs: 5}") == Outer(inner=Inner(epochs=5))
    assert read(tmp_path / "run.yaml", "") == Outer()


@pytest.mark.parametrize(
    "text", ["seed: !!python/object/apply:os.system ['true']", "!!python/name:os.system {}", "a: [1"]
)
def test_66_python_tags_and_broken_yaml_are_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "run.yaml", text)
    assert caught.value.code == "config-invalid"


def test_66_an_unknown_key_is_rejected_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key inner.epoch .*Did you mean 'epochs'"):
        read(tmp_path / "run.yaml", "inner: {epoch: 5}")


def test_a_value_of_another_type_is_rejected_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Outer.inner.epochs"):
        read(tmp_path / "run.yaml", "inner: {epochs: many}")


def test_records_round_trip_through_json() -> None:
    knee = Knee(participant="017", side="L")
    matrix = ((1.0, 0.0, 0.0, 0.1), (0.0, 1.0, 0.0, -1 / 3), (0.0, 0.0, 1.0, 2e-9), (0.0, 0.0, 0.0, 1.0))
    quality = RegistrationQuality(accepted=False, reason="no overlap", dice=0.0, surface_mm=9.0, correlation=0.0)
    pose = BoneTransform(knee=knee, bone="tibia", fixed="ct", moving="mr", matrix=matrix, quality=quality)
    assert from_json(BoneTransform, to_json(pose)) == pose
    outcome = Outcome(knee=None, stage="classify", status="skipped", seconds=0.0)
    assert from_json(Outcome, to_json(outcome)) == outcome
