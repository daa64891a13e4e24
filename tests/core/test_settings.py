"""Settings are refused where they are made, in the words of a good form."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from math import inf, nan
from typing import Annotated, Literal

import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.settings import (
    Above,
    Between,
    Count,
    NotEmpty,
    Positive,
    Rising,
    SettingsError,
    Share,
    allows,
    setting_error,
    validate_fields,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    workers: Count = 1

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    gpu: Literal["auto", "require", "never"] = "auto"
    share: Share = 0.5
    quick: bool = False
    spacing_mm: tuple[Positive, Positive] = (1.0, 1.0)
    levels_mm: Annotated[tuple[Positive, ...], NotEmpty(), Rising()] = (1.0, 2.0)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        validate_fields(self)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gpu": "nevr"}, "gpu: nevr, expected auto, require or never (did you mean never?)"),
        ({"gpu": 7}, "gpu: 7, expected auto, require or never"),
        ({"share": 1.5}, "share: 1.5, expected 0 to 1"),
        ({"share": nan}, "share: nan, expected a finite number, 0 to 1"),
        ({"share": "half"}, "share: half, expected a finite number, 0 to 1"),
        ({"quick": 1}, "quick: 1, expected true or false"),
        ({"spacing_mm": (1.0,)}, "spacing_mm: [1.0], expected a list of 2, each a finite number, above 0"),
        (
            {"spacing_mm": (1.0, inf)},
            "spacing_mm: [1.0, inf], expected a list of 2, each a finite number, above 0",
        ),
        ({"levels_mm": ()}, "levels_mm: [], expected not empty and in rising order"),
        ({"levels_mm": (2.0, 1.0)}, "levels_mm: [2.0, 1.0], expected not empty and in rising order"),
        ({"inner": 3}, "inner: 3, expected keys with values"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(
    wrong: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer(**wrong)  # type: ignore[arg-type]
    assert caught.value.code == "setting-invalid"
    assert caught.value.what == words


def test_every_wrong_value_of_a_record_is_named_at_once() -> None:
    with pytest.raises(
        ConfigError, match=r"gpu: 'never ', expected .*; share: -1, expected 0 to 1"
    ) as caught:
        Outer(gpu="never ", share=-1)  # type: ignore[arg-type]
    assert caught.value.where == "Outer"


@pytest.mark.parametrize("workers", [0, -1, True, 1.0, "1", None])
def test_a_count_is_a_whole_number_of_one_at_least(workers: object) -> None:
    with pytest.raises(ConfigError, match=r"workers: .*, expected .*1 or more"):
        Inner(workers=workers)  # type: ignore[arg-type]
    assert Inner(workers=1).workers == 1


def test_bounds_hold_at_their_edges_as_they_say() -> None:
    assert [Between(0, 1).holds(value) for value in (-0.1, 0, 1, 1.1)] == [False, True, True, False]
    assert [Above(0).holds(value) for value in (0, 1e-9)] == [False, True]


def test_a_long_or_unprintable_value_stays_on_one_short_line() -> None:
    for value in ("x" * 500, "a\nb", ""):
        with pytest.raises(ConfigError) as caught:
            Outer(gpu=value)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_the_refusal_crosses_processes_whole() -> None:
    error = setting_error(Outer(), "inner.workers", "a multiple of 4")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, SettingsError)
    assert (copy.faults, copy.where, str(copy)) == (error.faults, "Outer", str(error))
    assert error.what == "inner.workers: 1, expected a multiple of 4"


def test_an_annotation_that_cannot_be_checked_is_a_defect_of_ours() -> None:
    with pytest.raises(TypeError, match="cannot be"):
        allows(dict[str, int], {})
