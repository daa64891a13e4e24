"""Fills the tables of stages, settings and commands in the documents from the code.

``python docs/fill_tables.py`` writes them; ``--check`` ends with 1 where one is not that of the code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from srrd_ray import cli
from srrd_ray.core.setting_docs import Setting, settings_of
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.configuration_text import shown
from srrd_ray.pipeline.stages import STAGES

DOCS = Path(__file__).parent
STAGE_HEAD = "| stage | a work item is | needs | reads besides | settings | alone writes |\n|---|---|---|---|---|---|\n"
SETTING_HEAD = "| key | default | allowed | |\n|---|---|---|---|\n"


def stages() -> str:
    """Return the stages as a table, in the order in which they run."""
    rows = []
    for stage in STAGES:
        settings = _codes(sorted(stage.setting_keys().values()))
        cells = (f"`{stage.name}`", stage.scope, _codes(stage.needs), _codes(stage.outside), settings)
        rows.append(_row(*cells, _codes(stage.outputs)))
    return STAGE_HEAD + "\n".join(rows)


def settings() -> str:
    """Return the settings of a run: a heading and a table for each group at the top."""
    every = list(settings_of(RunConfig()))
    parts = [SETTING_HEAD + "\n".join(_setting(one) for one in every if not one.group and not one.is_group)]
    for group in (one for one in every if one.is_group and not one.group):
        rows = [_setting(one) for one in every if one.key.startswith(f"{group.key}.")]
        parts.append(f"## {group.key}\n\n{_marked(group.meaning)}\n\n" + SETTING_HEAD + "\n".join(rows))
    return "\n\n".join(parts)


def commands() -> str:
    """Return the commands, each with the first line of its help."""
    rows = [_row(f"`srrd {name}`", line) for name, line in _commands()]
    return "| command | |\n|---|---|\n" + "\n".join(rows)


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "stages": ("architecture.md", stages),
    "settings": ("configuration.md", settings),
    "commands": ("command-line.md", commands),
}
"""Each table by the name of its markers: its document, and what makes it."""


def _setting(one: Setting) -> str:
    if one.is_group:
        return _row(f"**`{one.key}`**", "", "", _marked(one.meaning))
    return _row(f"`{one.key}`", f"`{shown(one.value)}`", one.allowed, _marked(one.meaning))


def _marked(text: str) -> str:
    """Return the text of a docstring as Markdown, which has single backticks for code."""
    return text.replace("``", "`")


def _commands() -> Iterator[tuple[str, str]]:
    for name, command in cli.COMMANDS.items():
        yield name, (command.__doc__ or "").splitlines()[0]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _codes(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def filled(text: str, name: str, table: str) -> str:
    """Return a document with the table between its two markers."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = text.split(start)
    return f"{before}{start}\n{table}\n{end}{rest.split(end)[1]}"


def main() -> int:
    """Write the tables, or with ``--check`` compare them with the code."""
    old = {name: (DOCS / place).read_text(encoding="utf-8") for name, (place, _) in TABLES.items()}
    new = {name: filled(old[name], name, table()) for name, (_, table) in TABLES.items()}
    stale = [name for name in TABLES if new[name] != old[name]]
    if "--check" not in sys.argv[1:]:
        for name in stale:
            (DOCS / TABLES[name][0]).write_text(new[name], encoding="utf-8")
        return 0
    for name in stale:
        sys.stderr.write(
            f"the {name} in {TABLES[name][0]} are not those of the code: run python docs/fill_tables.py\n"
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
