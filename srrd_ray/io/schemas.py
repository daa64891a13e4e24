"""Storage contracts: every stored thing is checked against its JSON schema when it is written and when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from jsonschema import Draft202012Validator

from srrd_ray.errors import StoreError

Name: TypeAlias = Literal[
    "cohort", "volume", "transform", "patches", "morphometry", "bone", "model", "predictions", "run", "metrics"
]
FOLDER = Path(__file__).resolve().parents[2] / "storage_schemas"


@cache
def schema(name: Name) -> Mapping[str, object]:
    """Return the schema of that name; it lies beside the package, in a clone as in an installation."""
    loaded: Mapping[str, object] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


def version(name: Name) -> str:
    """Return what stored things of this kind write as their ``schema``, e.g. ``srrd-volume/1``."""
    return str(schema(name)["$id"])


def validate(name: Name, data: object, where: str = "") -> None:
    """Check plain JSON `data` against the schema `name`.

    Raises
    ------
    StoreError
        `schema-version` with both versions where it is of another one, `schema-invalid` naming the first fault.
    """
    found = data.get("schema", version(name)) if isinstance(data, Mapping) else version(name)
    if found != version(name):
        raise StoreError(
            "schema-version",
            "stored by another version",
            where=where,
            got=str(found)[:64],
            expected=version(name),
            todo="Write it again with this version, or read it with the version that wrote it.",
        )
    fault = next(iter(sorted(_validator(name).iter_errors(data), key=lambda e: list(map(str, e.path)))), None)
    if fault is not None:
        at = ".".join(str(part) for part in fault.absolute_path) or "top level"
        raise StoreError(
            "schema-invalid",
            f"does not obey {version(name)}",
            where=where,
            got=f"{at}: {fault.validator} fails",
            expected=json.dumps(fault.validator_value)[:120],
        )


@cache
def _validator(name: Name) -> Draft202012Validator:
    return Draft202012Validator(dict(schema(name)))
