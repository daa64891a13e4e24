"""Fills the table of stages in `docs/architecture.md` from their declarations.

``python docs/stage_table.py`` writes the table; ``--check`` ends with 1 where it is not that of the declarations.
"""

from __future__ import annotations

import sys
from pathlib import Path

from srrd_ray.pipeline.stages import STAGES

DOCUMENT = Path(__file__).with_name("architecture.md")
START, END = "<!-- stages -->", "<!-- /stages -->"
HEAD = "| stage | a work item is | needs | reads besides | settings | alone writes |\n|---|---|---|---|---|---|\n"


def table() -> str:
    """Return the stages as a table, in the order in which they run."""
    rows = []
    for stage in STAGES:
        settings = _codes(sorted(stage.setting_keys().values()))
        cells = (f"`{stage.name}`", stage.scope, _codes(stage.needs), _codes(stage.outside), settings)
        rows.append("| " + " | ".join([*cells, _codes(stage.outputs)]) + " |")
    return HEAD + "\n".join(rows)


def _codes(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def filled(text: str) -> str:
    """Return a document with the table between its two markers."""
    before, rest = text.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{table()}\n{END}{after}"


def main() -> int:
    """Write the table, or with ``--check`` compare it with the declarations."""
    old = DOCUMENT.read_text(encoding="utf-8")
    new = filled(old)
    if "--check" not in sys.argv[1:]:
        DOCUMENT.write_text(new, encoding="utf-8")
        return 0
    if new == old:
        return 0
    sys.stderr.write(
        "the stages in docs/architecture.md are not those declared: run python docs/stage_table.py\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
