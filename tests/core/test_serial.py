from dataclasses import dataclass, field
from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import BoneTransform, Knee, Outcome, RegistrationQuality
from srrd_ray.core.serial import from_json, from_yaml, to_json
from srrd_ray.core.settings import Count, validate_fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    epochs: Count = 3

    def __post_init__(self) -> None:
        validate_fields(self)


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


def test_66_every_unknown_key_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown keys sed, inner.epoch in run.yaml") as caught:
        read(tmp_path / "run.yaml", "sed: 3\ninner: {epoch: 5}")
    assert "Did you mean 'seed'" in caught.value.todo
    assert "Did you mean 'epochs'" in caught.value.todo


def test_66_broken_yaml_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run.yaml, line 2"):
        read(tmp_path / "run.yaml", "seed: 1\ninner: [1: 2")


def test_a_value_of_another_type_is_rejected_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"inner.epochs: many, expected a whole number, 1 or more in run.yaml"
    ):
        read(tmp_path / "run.yaml", "inner: {epochs: many}")
    with pytest.raises(ConfigError, match=r"record-invalid.*Outer.inner.epochs"):
        from_json(Outer, '{"inner": {"epochs": "many"}}')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inner: {epochs: 0}", "inner.epochs: 0, expected 1 or more in run.yaml"),
        ("seed: yes\ninner: {epochs: true}", "seed: True, expected a whole number; inner.epochs: True, expected a whole number, 1 or more"),
        ("seed: many\ninner: {epochs: 0}", "seed: many, expected a whole number; inner.epochs: 0, expected 1 or more"),
        ("seed: .inf", "seed: inf, expected a whole number"),
        ("inner: 3", "inner: 3, expected keys with values"),
        ("inner:", "inner: None, expected keys with values"),
        ("[1, 2]", "file: [1, 2], expected keys with values"),
    ],
)  # fmt: skip
def test_every_wrong_setting_of_a_file_is_told_by_its_dotted_key(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "run.yaml", text)
    assert caught.value.code == "setting-invalid"
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["seed: 1\ninner: {}\nseed: 2\n", "inner:\n  epochs: 1\n\n  epochs: 1\n"])
def test_a_key_that_occurs_twice_is_refused_with_both_lines(tmp_path: Path, text: str) -> None:
    lines = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()[:4] in ("seed", "epoc")
    ]
    with pytest.raises(ConfigError, match=f"occurs twice: got lines {lines[0]} and {lines[1]}") as caught:
        read(tmp_path / "run.yaml", text)
    assert caught.value.code == "key-repeated"


def test_one_key_in_two_places_is_none_that_occurs_twice(tmp_path: Path) -> None:
    assert read(tmp_path / "run.yaml", "seed: 2\ninner: {epochs: 2}") == Outer(seed=2, inner=Inner(epochs=2))


def test_records_round_trip_through_json() -> None:
    knee = Knee(participant="017", side="L")
    matrix = ((1.0, 0.0, 0.0, 0.1), (0.0, 1.0, 0.0, -1 / 3), (0.0, 0.0, 1.0, 2e-9), (0.0, 0.0, 0.0, 1.0))
    quality = RegistrationQuality(
        accepted=False, reason="no overlap", dice=0.0, surface_mm=9.0, correlation=0.0
    )
    pose = BoneTransform(knee=knee, bone="tibia", fixed="ct", moving="mr", matrix=matrix, quality=quality)
    assert from_json(BoneTransform, to_json(pose)) == pose
    outcome = Outcome(knee=None, stage="classify", status="skipped", seconds=0.0)
    assert from_json(Outcome, to_json(outcome)) == outcome
