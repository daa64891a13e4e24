"""Settings are validated where they are made.

A choice is a `Literal`, a number carries its bounds in its annotation. A record of settings calls
`validate_fields` in `__post_init__`; the words of a refusal follow from the same annotations.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from math import isfinite
from pathlib import PurePosixPath
from typing import Annotated, Literal, Protocol, TypeAlias, get_args, get_origin, get_type_hints

from srrd_ray.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A number that may equal `low`."""

    low: float

    def holds(self, value: float) -> bool:
        """Return whether the value is allowed."""
        return value >= self.low

    def __str__(self) -> str:
        return f"{self.low:g} or more"


@dataclass(frozen=True, slots=True)
class Above:
    """A number that may not equal `low`."""

    low: float

    def holds(self, value: float) -> bool:
        """Return whether the value is allowed."""
        return value > self.low

    def __str__(self) -> str:
        return f"above {self.low:g}"


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `low` to `high`, both allowed."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether the value is allowed."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """A list of one value at least."""

    def holds(self, value: Sequence[object]) -> bool:
        """Return whether the value is allowed."""
        return bool(value)

    def __str__(self) -> str:
        return "not empty"


@dataclass(frozen=True, slots=True)
class TwoOrNone:
    """A range, or an empty list."""

    def holds(self, value: Sequence[object]) -> bool:
        """Return whether the value is allowed."""
        return len(value) in (0, 2)

    def __str__(self) -> str:
        return "two of them or none"


@dataclass(frozen=True, slots=True)
class Rising:
    """A list of which no number is below the one before it."""

    def holds(self, value: Sequence[float]) -> bool:
        """Return whether the value is allowed."""
        return all(first <= second for first, second in pairwise(value))

    def __str__(self) -> str:
        return "in rising order"


@dataclass(frozen=True, slots=True)
class AbsoluteOrEmpty:
    """A path that does not depend on where a worker is, or nothing."""

    def holds(self, value: str) -> bool:
        """Return whether the value is allowed."""
        return value == "" or PurePosixPath(value).is_absolute()

    def __str__(self) -> str:
        return "an absolute path that every node sees, or nothing"


Natural: TypeAlias = Annotated[int, AtLeast(0)]
Count: TypeAlias = Annotated[int, AtLeast(1)]
Folds: TypeAlias = Annotated[int, AtLeast(2)]
Positive: TypeAlias = Annotated[float, Above(0)]
NonNegative: TypeAlias = Annotated[float, AtLeast(0)]
Share: TypeAlias = Annotated[float, Between(0, 1)]
Correlation: TypeAlias = Annotated[float, Between(-1, 1)]
Degrees: TypeAlias = Annotated[float, Between(-180, 180)]
Folder: TypeAlias = Annotated[str, AbsoluteOrEmpty()]
Hounsfield: TypeAlias = Annotated[float, Between(-1024, 32767)]


class _Bound(Protocol):
    def holds(self, value: object) -> bool: ...


@dataclass(frozen=True, slots=True)
class SettingFault:
    """One setting that is not allowed: its key, the value as shown, and what is expected."""

    key: str
    value: str
    expected: str

    @classmethod
    def of(cls, key: str, value: object, hint: object) -> SettingFault:
        """Return the fault of a value that its annotation does not allow."""
        return cls(key, _shown(value), expected(hint, value))

    def below(self, key: str) -> SettingFault:
        """Return the same fault in a record that is the value of `key`."""
        return replace(self, key=f"{key}.{self.key}" if key else self.key)

    def __str__(self) -> str:
        return f"{self.key}: {self.value}, expected {self.expected}"


class SettingsError(ConfigError):
    """All settings found that are not allowed (`setting-invalid`); `where` is the record or file."""

    def __init__(self, faults: Iterable[SettingFault], where: str) -> None:
        self.faults = tuple(dict.fromkeys(faults))
        super().__init__("setting-invalid", "; ".join(str(fault) for fault in self.faults), where=where)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the single faults when the error crosses a process boundary."""
        return SettingsError, (self.faults, self.where)


def validate_fields(record: object) -> None:
    """Raise where a field of a record of settings is not what its annotation allows.

    Raises
    ------
    SettingsError
        `setting-invalid` naming each such field, its value, and what is allowed.
    """
    kind: type = type(record)
    values = ((name, getattr(record, name), hint) for name, hint in hints_of(kind).items())
    faults = [SettingFault.of(name, value, hint) for name, value, hint in values if not allows(hint, value)]
    if faults:
        raise SettingsError(faults, kind.__name__)


def setting_error(record: object, name: str, expected: str) -> SettingsError:
    """Return the refusal of a field that contradicts other fields; `name` is dotted where it is nested."""
    value: object = record
    for part in name.split("."):
        value = getattr(value, part)
    return SettingsError([SettingFault(name, _shown(value), expected)], type(record).__name__)


@cache
def hints_of(kind: type) -> dict[str, object]:
    """Return the annotation of each field of a dataclass, bounds included."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def allows(hint: object, value: object) -> bool:
    """Return whether an annotation allows a value; truth values are no numbers, and numbers are finite.

    Raises
    ------
    TypeError
        For an annotation that records of settings do not use.
    """
    arguments = get_args(hint)
    match get_origin(hint) or hint:
        case origin if origin is Annotated:
            bounds: Sequence[_Bound] = arguments[1:]
            return allows(arguments[0], value) and all(bound.holds(value) for bound in bounds)
        case origin if origin is Literal:
            return isinstance(value, str) and value in arguments
        case origin if origin is tuple:
            return isinstance(value, tuple) and _allows_items(arguments, value)
        case origin if origin is int:
            return isinstance(value, int) and not isinstance(value, bool)
        case origin if origin is float:
            return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        case type() as origin if origin in (bool, str) or is_dataclass(origin):
            return isinstance(value, origin)
        case _:
            raise TypeError(f"a setting cannot be a {hint}")


def _allows_items(arguments: tuple[object, ...], values: tuple[object, ...]) -> bool:
    hints = (arguments[0],) * len(values) if arguments[-1] is Ellipsis else arguments
    return len(values) == len(hints) and all(
        allows(hint, value) for hint, value in zip(hints, values, strict=True)
    )


def expected(hint: object, value: object = None) -> str:
    """Return in words what an annotation allows; of a number only its bounds where `value` is a number."""
    arguments = get_args(hint)
    match get_origin(hint) or hint:
        case origin if origin is Annotated:
            bounds = " and ".join(str(bound) for bound in arguments[1:])
            return bounds if allows(arguments[0], value) else f"{expected(arguments[0])}, {bounds}"
        case origin if origin is Literal:
            return _choice(arguments, value)
        case origin if origin is tuple:
            length = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
            return f"a list{length}, each {expected(arguments[0])}"
        case origin if is_dataclass(origin):
            return "keys with values"
        case origin:
            return _NAMES[origin]


_NAMES: dict[object, str] = {
    int: "a whole number", float: "a finite number", bool: "true or false", str: "text",
}  # fmt: skip


def _choice(choices: Sequence[str], value: object) -> str:
    *first, last = choices
    close = difflib.get_close_matches(str(value), choices, n=1)
    words = f"{', '.join(first)} or {last}" if first else last
    return f"{words} (did you mean {close[0]}?)" if close else words


def _shown(value: object) -> str:
    """Return a value as it is shown in a message: on one line, and not long."""
    plain = isinstance(value, str) and value != "" and value.isprintable() and value == value.strip()
    listed = list(value) if isinstance(value, tuple) else value
    text = str(value) if plain else repr(listed)
    return text if len(text) <= 64 else f"{text[:61]}..."
