"""Settings are described by their own docstrings and annotations, in either place where a docstring may stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from srrd_ray.core.setting_docs import Setting, meanings_of, settings_of
from srrd_ray.core.settings import AtLeast, Count


@dataclass(frozen=True, kw_only=True)
class Inner:
    """What lies inside. It has
    two lines.

    This paragraph is not shown.
    """

    depth: Count = 3
    """How deep,
    in layers."""
    kind: Literal["none", "some"] = "none"
    silent: bool = True


@dataclass(frozen=True, kw_only=True)
class Outer:
    """What lies outside.

    Parameters
    ----------
    first, second
        Numbers of
        a pair.
    named
        The inner one, deeper.
    """

    first: Annotated[int, AtLeast(0)] = 1
    second: Annotated[int, AtLeast(0)] = 2
    named: Inner = field(default_factory=lambda: Inner(depth=5))
    unnamed: Inner = field(default_factory=Inner)


def test_a_meaning_stands_in_the_section_parameters_or_below_the_field() -> None:
    assert meanings_of(Outer) == {
        "first": "Numbers of a pair.", "second": "Numbers of a pair.", "named": "The inner one, deeper."
    }  # fmt: skip
    assert meanings_of(Inner) == {"depth": "How deep, in layers."}


def test_settings_come_in_order_with_the_values_of_the_record_and_what_is_allowed() -> None:
    found = list(settings_of(Outer()))
    assert [one.key for one in found] == [
        "first", "second", "named", "named.depth", "named.kind", "named.silent",
        "unnamed", "unnamed.depth", "unnamed.kind", "unnamed.silent",
    ]  # fmt: skip
    assert found[3] == Setting(
        key="named.depth", value=5, meaning="How deep, in layers.", allowed="a whole number, 1 or more"
    )
    assert (found[3].group, found[3].name) == ("named", "depth")
    assert found[4].allowed == "none or some"
    assert (found[5].meaning, found[5].allowed) == ("", "true or false")


def test_a_group_is_described_where_it_is_named_or_else_by_its_own_record() -> None:
    groups = {one.key: one.meaning for one in settings_of(Outer()) if one.is_group}
    assert groups == {
        "named": "The inner one, deeper.",
        "unnamed": "What lies inside. It has two lines.",
    }
