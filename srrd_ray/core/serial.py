"""Records and configurations to and from JSON and YAML: one mechanism, strict in both directions."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar, cast, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from srrd_ray.core.errors import ConfigError

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
    """Return the `kind` that the YAML file `path` holds;
    absent keys keep their defaults, unknown keys are refused.
    """
    try:
        data: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            "config-invalid",
            f"not plain YAML: {str(error).splitlines()[0]}",
            where=path.name,
            todo="Use plain scalars, lists and mappings; tags such as !!python are refused.",
        ) from error
    return from_mapping(kind, {} if data is None else data)


def from_mapping(kind: type[Record], data: object) -> Record:
    """Return the `kind` built from plain data, every nested key known and every value of its type."""
    _refuse_unknown(kind, data, "")
    try:
        return cast(
            "Record", _adapter(kind).validate_python(data)
        )  # what the adapter of a kind returns is of that kind
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError("record-invalid", first["msg"], where=f"{kind.__name__}.{where}") from error


def _adapter(kind: object) -> TypeAdapter[object]:
    """Return what checks and writes records of a kind; made once a process, since that takes milliseconds."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


@cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def _refuse_unknown(kind: object, data: object, prefix: str) -> None:
    if not (isinstance(kind, type) and is_dataclass(kind) and isinstance(data, Mapping)):
        return
    hints = _hints(kind)
    names = [field.name for field in fields(kind)]
    for key, value in data.items():
        if key not in names:
            close = difflib.get_close_matches(str(key), names, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(names)}."
            raise ConfigError(
                "key-unknown", f"unknown key {prefix}{str(key)[:64]}", where=kind.__name__, todo=hint
            )
        _refuse_unknown(hints[key], value, f"{prefix}{key}.")
