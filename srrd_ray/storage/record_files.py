"""Single records as JSON files with the version of their schema, validated on writing and on reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from srrd_ray.core import serial
from srrd_ray.core.errors import StoreError
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.schemas import Name, schema_version, validate

Record = TypeVar("Record")


def write_record(path: Path, record: object, contract: Name) -> None:
    """Write `record` (a frozen dataclass) with its schema's version.

    Raises
    ------
    StoreError
        `schema-invalid` where it does not obey `contract`.
    """
    data = {"schema": schema_version(contract), **json.loads(serial.to_json(record))}
    validate(contract, data, path.name)
    write_text(path, json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_record(kind: type[Record], path: Path, contract: Name) -> Record:
    """Return the `kind` stored at `path`.

    Raises
    ------
    StoreError
        `record-unreadable` where the file is torn, `schema-version` or
        `schema-invalid` where it does not obey `contract`.
    """
    try:
        data: object = json.loads(path.read_bytes())
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise StoreError(
            "record-unreadable", "not a stored record", where=path.name, got=type(error).__name__,
            todo="Delete the file and run the same command again.",
        ) from error  # fmt: skip
    validate(contract, data, path.name)
    assert isinstance(data, dict)
    return serial.from_mapping(kind, {key: value for key, value in data.items() if key != "schema"})
