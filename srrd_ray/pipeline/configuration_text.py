"""The configuration of a run as text: every setting with its meaning, and what differs from the defaults."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from textwrap import wrap

import yaml

from srrd_ray import __version__
from srrd_ray.core.setting_docs import Setting, settings_of
from srrd_ray.pipeline.configuration import RunConfig

WIDTH = 110
GLUE = "\xa0"
"""In place of a space at which no line is broken."""
HEAD = f"""\
# Every setting of a run of SRRD-Ray {__version__}: what it means, what is allowed in brackets, its default.
# Keep the keys that you change: absent ones keep their defaults. Check a file: srrd config FILE
"""


def commented_yaml(config: RunConfig) -> str:
    """Return a configuration as YAML that reads back as the same, each key below what it means."""
    return HEAD + "".join(f"{line}\n" for one in settings_of(config) for line in _lines(one))


def differences(config: RunConfig) -> str:
    """Return the settings that are not the default, a line each with both values."""
    pairs = zip(settings_of(config), settings_of(RunConfig()), strict=True)
    changed = [(one, usual) for one, usual in pairs if not one.is_group and one.value != usual.value]
    lines = [f"{one.key}: {shown(one.value)}  (default {shown(usual.value)})\n" for one, usual in changed]
    return "".join(lines) or "nothing differs from the defaults\n"


def shown(value: object) -> str:
    """Return a value as YAML has it, on one line.

    >>> shown((1.0, 2.0)), shown(True), shown("")
    ('[1.0, 2.0]', 'true', "''")
    """
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump([plain], default_flow_style=True, width=sys.maxsize)
    return text.strip()[1:-1]


def _lines(setting: Setting) -> Iterator[str]:
    depth = setting.key.count(".")
    indent = "  " * depth
    if depth == 0:
        yield ""
    words = setting.meaning.replace("`", "")
    allowed = "" if setting.is_group else f"[{setting.allowed}]".replace(" ", GLUE)
    prefix = f"{indent}# "
    for line in wrap(f"{words} {allowed}", WIDTH, initial_indent=prefix, subsequent_indent=prefix):
        yield line.replace(GLUE, " ")
    value = "" if setting.is_group else f" {shown(setting.value)}"
    yield f"{indent}{setting.name}:{value}"
