"""Storage contracts: all stored data are validated against their JSON schema on writing and on reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from jsonschema import Draft202012Validator

from srrd_ray.core.errors import StoreError

Name: TypeAlias = Literal[
    "cohort",
    "volume",
    "transform",
    "patches",
    "morphometry",
    "bone",
    "model",
    "predictions",
    "knees",
    "registration",
    "diagnosis",
    "target_errors",
    "truth",
    "tune",
    "run",
    "metrics",
    "winners",
    "expected",
    "precision",
    "losses",
    "synthesis",
    "diagnosis_models",
    "sidecar",
    "inference",
    "dictionary",
    "segmenter",
    "school",
    "labels",
    "synthesis_figures",
    "synthesis_choice",
    "shape",
    "diagnosis_variants",
]
FOLDER = Path(__file__).resolve().parents[2] / "storage_schemas"
DEFINITIONS = "definitions.json"
"""Definitions of bones and parameters for several schemas, used as ``definitions.json#/$defs/<name>``."""


@cache
def load_schema(name: Name) -> Mapping[str, object]:
    """Return the schema of that name, with the shared definitions filled in.

    It is a file of the package, also when installed.
    """
    loaded: dict[str, object] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return {key: _with_definitions(value) for key, value in loaded.items()}


@cache
def definitions() -> Mapping[str, Mapping[str, object]]:
    """Return the shared definitions by name."""
    loaded: Mapping[str, Mapping[str, object]] = json.loads(
        (FOLDER / DEFINITIONS).read_text(encoding="utf-8")
    )["$defs"]
    return loaded


def _with_definitions(node: object) -> object:
    """Return a part of a schema with each reference to `DEFINITIONS` replaced by what it refers to."""
    if isinstance(node, list):
        return [_with_definitions(each) for each in node]
    if not isinstance(node, dict):
        return node
    file, _, name = str(node.get("$ref", "")).partition("#/$defs/")
    return definitions()[name] if file == DEFINITIONS else {k: _with_definitions(v) for k, v in node.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The rules of a schema for a table: each column, which are required, and whether others are allowed."""

    rules: Mapping[str, Mapping[str, object]]
    required: tuple[str, ...]
    closed: bool


@cache
def columns_of(name: Name) -> Columns:
    """Return the columns of the schema `name` of a row, those of its `allOf` parts among them."""
    whole = load_schema(name)
    shared: list[Mapping[str, object]] = whole.get("allOf", [])  # type: ignore[assignment]
    rules: dict[str, Mapping[str, object]] = {}
    required: list[str] = []
    for part in (*shared, whole):
        own: Mapping[str, Mapping[str, object]] = part.get("properties", {})  # type: ignore[assignment]
        needed: list[str] = part.get("required", [])  # type: ignore[assignment]
        rules |= own
        required += needed
    closed = False in (whole.get("additionalProperties"), whole.get("unevaluatedProperties"))
    return Columns(rules=rules, required=tuple(required), closed=closed)


def schema_version(name: Name) -> str:
    """Return what stored things of this kind write as their ``schema``, e.g. ``srrd-volume/1``."""
    return str(load_schema(name)["$id"])


def validate(name: Name, data: object, where: str = "") -> None:
    """Check plain JSON `data` against the schema `name`.

    Raises
    ------
    StoreError
        `schema-version` with both versions where it is of another one,
        `schema-invalid` naming the first fault.
    """
    expected = schema_version(name)
    found = data.get("schema", expected) if isinstance(data, Mapping) else expected
    if found != expected:
        raise StoreError(
            "schema-version",
            "stored by another version",
            where=where,
            got=str(found)[:64],
            expected=expected,
            todo="Write it again with this version, or read it with the version that wrote it.",
        )
    fault = next(iter(sorted(_validator(name).iter_errors(data), key=lambda e: list(map(str, e.path)))), None)
    if fault is not None:
        at = ".".join(str(part) for part in fault.absolute_path) or "top level"
        raise _invalid(name, where, f"{at}: {fault.validator} fails", json.dumps(fault.validator_value))


def column_types(name: Name) -> dict[str, str]:
    """Return the JSON type of the columns for which the schema `name` allows one type, or it and null.

    The types are string, integer, number and boolean.
    """
    types: dict[str, str] = {}
    for column, rule in columns_of(name).rules.items():
        given = rule.get("type", "string" if "enum" in rule else None)  # the enumerations of tables are words
        several: set[str] = set(given or ()) - {"null"}  # type: ignore[call-overload]
        kinds = {given} if isinstance(given, str) else several
        if len(kinds) == 1:
            types[column] = kinds.pop()
    return types


def validate_rows(name: Name, table: pd.DataFrame, where: str = "", *, stored: Sequence[str] = ()) -> None:
    """Check a table whose rows are what the schema `name` describes:
    its columns, and every value of each of them.

    Numbers are checked by their least and greatest, the rest by its distinct values: no loop over rows.
    `stored` are the columns of the whole table where `table` holds only some of them.

    Raises
    ------
    StoreError
        `schema-invalid` naming the column.
    """
    contract = columns_of(name)
    rules, columns = contract.rules, list(map(str, stored or table.columns))
    lost = [column for column in contract.required if column not in columns]
    odd = [column for column in columns if column not in rules]
    if lost or (odd and contract.closed):
        faults = [
            *(f"no column {column}" for column in lost),
            *(f"an unknown column {column}" for column in odd),
        ]
        raise _invalid(name, where, ", ".join(faults)[:160], f"columns {', '.join(rules)}")
    for column in [column for column in table.columns if column in rules]:
        rule = Draft202012Validator(dict(rules[column]))
        for value in _representative_values(table[column]):
            fault = next(rule.iter_errors(value), None)
            if fault is not None:
                raise _invalid(
                    name, where, f"{column}: {fault.validator} fails", json.dumps(fault.validator_value)
                )


def _representative_values(values: pd.Series[object]) -> list[object]:
    """Return the values that decide whether all are valid.

    They are the extremes of numbers, distinct values of other types, and None where one is missing.
    """
    there = values.dropna()
    missing: list[object] = [None] if len(there) < len(values) else []
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        return missing + ([there.min().item(), there.max().item()] if len(there) else [])
    return missing + [v.item() if isinstance(v, np.generic) else v for v in there.unique()]


def _invalid(name: Name, where: str, got: str, expected: str) -> StoreError:
    return StoreError(
        "schema-invalid", f"does not obey {schema_version(name)}", where=where, got=got,
        expected=expected[:160],
        todo="Delete the file and run the same command again.",
    )  # fmt: skip


@cache
def _validator(name: Name) -> Draft202012Validator:
    return Draft202012Validator(dict(load_schema(name)))
