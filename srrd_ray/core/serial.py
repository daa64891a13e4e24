"""Records and configurations to and from JSON and YAML: one mechanism, strict in both directions."""

from __future__ import annotations

import difflib
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.settings import SettingFault, SettingsError, allows, hints_of

Record = TypeVar("Record")
_ADAPTERS: dict[object, TypeAdapter[object]] = {}


def to_json(record: object) -> str:
    """Return `record` (a frozen dataclass, or a list of them) as JSON:
    sorted keys, two spaces, newline at the end.
    """
    data = _adapter(type(record)).dump_python(record, mode="json")
    return json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n"


def to_line(record: object) -> str:
    """Return `record` as JSON in one line, keys sorted."""
    return json.dumps(
        _adapter(type(record)).dump_python(record, mode="json"), sort_keys=True, allow_nan=False
    )


def from_json(kind: type[Record], text: str | bytes) -> Record:
    """Return the `kind` that `text` holds.

    Raises
    ------
    ConfigError
        `record-invalid` for unknown keys, missing keys, wrong types or broken JSON.
    """
    try:
        data: object = json.loads(text)
    except ValueError as error:
        raise ConfigError("record-invalid", f"not JSON: {error}", expected=kind.__name__) from error
    return from_mapping(kind, data)


def from_yaml(kind: type[Record], path: Path) -> Record:
    """Return the settings that the YAML file `path` holds; absent keys keep their defaults.

    Raises
    ------
    ConfigError
        `config-invalid` for what is no plain YAML, `key-repeated`, `key-unknown`; `setting-invalid` with
        every setting that is not allowed, by its dotted key.
    """
    try:
        data: object = _StrictLoader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            "config-invalid",
            f"not plain YAML: {str(error).splitlines()[0]}",
            where=f"{path.name}{_line_of(error)}",
            todo="Use plain scalars, lists and mappings; tags such as !!python are refused.",
        ) from error
    return _settings(kind, {} if data is None else data, path.name)


def _line_of(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Return where YAML is broken, as the end of a place: ``, line 3``; nothing where that is not known."""
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark is not None else ""


def from_mapping(kind: type[Record], data: object) -> Record:
    """Return the `kind` built from plain data, every nested key known and every value of its type."""
    _refuse_unknown(kind, data, kind.__name__)
    try:
        return cast(
            "Record", _adapter(kind).validate_python(data)
        )  # what the adapter of a kind returns is of that kind
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError("record-invalid", first["msg"], where=f"{kind.__name__}.{where}") from error


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML in which no key occurs twice: YAML itself would let the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ConfigError(
                    "key-repeated", f"the key {key.value[:64]!r} occurs twice",
                    got=f"lines {lines[key.value]} and {line}", todo="Keep one of the two.",
                )  # fmt: skip
            lines[key.value] = line
        return super().construct_mapping(node, deep=deep)


def _settings(kind: type[Record], data: object, where: str) -> Record:
    """Return settings from plain data; an error names the key that the reader of the file looks for."""
    _refuse_unknown(kind, data, where)
    switches = tuple(_switches(kind, data))
    if switches:
        raise SettingsError(switches, where)
    try:
        return cast("Record", _adapter(kind).validate_python(data))  # as in `from_mapping`
    except ValidationError as error:
        raise SettingsError(_faults(kind, error), where) from None


def _switches(kind: object, data: object) -> Iterator[SettingFault]:
    """Yield each truth value in the place of a number: pydantic would take ``yes`` as 1."""
    if not (isinstance(kind, type) and is_dataclass(kind) and isinstance(data, Mapping)):
        return
    for key, value in data.items():
        hint = hints_of(kind)[key]
        if isinstance(value, bool) and not allows(hint, value):
            yield SettingFault.of(key, value, hint)
        yield from (fault.below(key) for fault in _switches(hint, value))


def _faults(kind: type, error: ValidationError) -> Iterator[SettingFault]:
    """Yield what is wrong with each setting: as its record found it, or else by its annotation."""
    for one in error.errors(include_url=False):
        cause = one.get("ctx", {}).get("error")
        keys = [part for part in one["loc"] if isinstance(part, str)]
        if isinstance(cause, SettingsError):
            yield from (fault.below(".".join(keys)) for fault in cause.faults)
        else:
            yield SettingFault.of(".".join(keys) or "file", one["input"], _hint_at(kind, keys))


def _hint_at(kind: type, keys: Sequence[str]) -> object:
    """Return the annotation of a field by its path."""
    hint: object = kind
    for key in keys:
        hint = hints_of(hint)[key] if isinstance(hint, type) else hint
    return hint


def _adapter(kind: object) -> TypeAdapter[object]:
    """Return what checks and writes records of a kind; made once a process, since that takes milliseconds."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _refuse_unknown(kind: object, data: object, where: str) -> None:
    """Raise where mappings have keys that no field is called, with all of them.

    Raises
    ------
    ConfigError
        `key-unknown`.
    """
    unknown = list(_unknown_keys(kind, data, ""))
    if unknown:
        keys = "unknown key" if len(unknown) == 1 else "unknown keys"
        raise ConfigError(
            "key-unknown", f"{keys} {', '.join(key for key, _ in unknown)}", where=where,
            todo=" ".join(dict.fromkeys(hint for _, hint in unknown)),
        )  # fmt: skip


def _unknown_keys(kind: object, data: object, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield each unknown key by its dotted name, with a hint."""
    if not (isinstance(kind, type) and is_dataclass(kind) and isinstance(data, Mapping)):
        return
    hints = hints_of(kind)
    names = list(hints)
    for key, value in data.items():
        if key in names:
            yield from _unknown_keys(hints[key], value, f"{prefix}{key}.")
            continue
        close = difflib.get_close_matches(str(key), names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(names)}."
        yield f"{prefix}{str(key)[:64]}", hint
