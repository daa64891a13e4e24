"""The examples of stored things, from where people read them: the README of the schemas."""

from __future__ import annotations

import json
import re

from srrd_ray.storage.schemas import FOLDER, Name


def examples(name: Name) -> list[dict[str, object]]:
    """Return the examples of one kind of stored thing."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^\*\*{name}\*\*\n```json\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    return [json.loads(line) for line in found[1].splitlines()] if found else []
