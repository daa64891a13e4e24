"""What a JSON file holds, as it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def at(data: Json, *keys: str) -> Json:
    """Return the value under nested keys, None where one is absent.

    Examples
    --------
    >>> at({"femur": {"icc": 0.8}}, "femur", "icc")
    0.8
    """
    for key in keys:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data
