"""Storage contracts: all stored data are validated against their JSON schema on writing and on reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    "synthesis",
    "diagnosis_models",
    "sidecar",
    "inference",
]
FOLDER = Path(__file__).resolve().parents[2] / "storage_schemas"


@cache
def load_schema(name: Name) -> Mapping[str, object]:
    """Return the schema of that name, from the folder next to the
    package (in a clone and in an installation).
    """
    loaded: Mapping[str, object] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


def schema_version(name: Name) -> str:
    """Return what stored data of this kind have as ``schema``, e.g. ``srrd-volume/1``."""
    return str(load_schema(name)["$id"])


def validate(name: Name, data: object, where: str = "") -> None:
    """Check plain JSON `data` against the schema `name`.

    Raises
    ------
    StoreError
        `schema-version` with both versions where it is of another one,
        `schema-invalid` naming the first fault.
    """
    version = data.get("schema", schema_version(name)) if isinstance(data, Mapping) else schema_version(name)
    if version != schema_version(name):
        raise StoreError(
            "schema-version",
            "stored by another version",
            where=where,
            got=str(version)[:64],
            expected=schema_version(name),
            todo="Write it again with this version, or read it with the version that wrote it.",
        )
    fault = next(iter(sorted(_validator(name).iter_errors(data), key=lambda e: list(map(str, e.path)))), None)
    if fault is not None:
        at = ".".join(str(part) for part in fault.absolute_path) or "top level"
        raise _invalid(name, where, f"{at}: {fault.validator} fails", json.dumps(fault.validator_value))


def column_types(name: Name) -> dict[str, str]:
    """Return the JSON type (string, integer, number, boolean) of each column with one type, null aside,
    in schema `name`.
    """
    types = {}
    rules: Mapping[str, Mapping[str, object]] = load_schema(name)["properties"]  # type: ignore[assignment]
    for column, rule in rules.items():
        # the enumerations of tables are strings
        given = rule.get("type", "string" if "enum" in rule else None)
        many: set[str] = set(given or ())  # type: ignore[call-overload]
        kinds = {given} if isinstance(given, str) else many - {"null"}
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
    rules: Mapping[str, object] = load_schema(name)["properties"]  # type: ignore[assignment]
    needed: list[str] = load_schema(name)["required"]  # type: ignore[assignment]
    columns = list(map(str, stored or table.columns))
    missing = [column for column in needed if column not in columns]
    odd = [column for column in columns if column not in rules]
    if missing or (odd and load_schema(name).get("additionalProperties") is False):
        raise _invalid(name, where, f"columns {', '.join(columns)[:160]}", f"columns {', '.join(rules)}")
    for column in [column for column in table.columns if column in rules]:
        rule = Draft202012Validator(rules[column])  # type: ignore[arg-type]
        for value in _representatives(table[column]):
            fault = next(rule.iter_errors(value), None)
            if fault is not None:
                raise _invalid(
                    name, where, f"{column}: {fault.validator} fails", json.dumps(fault.validator_value)
                )


def _representatives(values: pd.Series[object]) -> list[object]:
    """Return the values that decide whether all are valid:
    extremes of numbers, distinct others, None where one is missing.
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
