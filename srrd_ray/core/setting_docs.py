"""The settings of a record, in order: what each means and may be, from its docstrings and annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from inspect import getdoc

from docstring_parser import parse_from_object

from srrd_ray.core.settings import expected, hints_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting: its dotted key, its value, what it means, and in words what is allowed.

    A group, whose value is itself a record of settings, allows nothing by itself: `allowed` is empty.
    """

    key: str
    value: object
    meaning: str
    allowed: str

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]

    @property
    def group(self) -> str:
        """The key of the record that holds it; empty at the top."""
        return self.key.rpartition(".")[0]

    @property
    def is_group(self) -> bool:
        """Whether its value is a record of settings."""
        return not self.allowed


def settings_of(record: object, group: str = "") -> Iterator[Setting]:
    """Yield every setting of a record in its order, a group before what it holds."""
    kind: type = type(record)
    meanings = meanings_of(kind)
    for name, hint in hints_of(kind).items():
        value, key = getattr(record, name), f"{group}.{name}" if group else name
        if is_dataclass(value):
            yield Setting(key=key, value=value, meaning=meanings.get(name) or _purpose(value), allowed="")
            yield from settings_of(value, key)
        else:
            yield Setting(key=key, value=value, meaning=meanings.get(name, ""), allowed=expected(hint, ""))


def meanings_of(kind: type) -> dict[str, str]:
    """Return what the docstrings of a record say of its fields, each on one line.

    That is a line of its section Parameters, or the docstring below the field; fields that neither names are
    left out.
    """
    described = [(one.arg_name, one.description or "") for one in parse_from_object(kind).params]
    return {name.strip(): _line(text) for names, text in described for name in names.split(",")}


def _purpose(record: object) -> str:
    """Return the first paragraph of the docstring of a record."""
    return _line((getdoc(type(record)) or "").split("\n\n")[0])


def _line(text: str) -> str:
    return " ".join(text.split())
