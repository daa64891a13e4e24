"""The parts of a page, and the page as one self-contained HTML file:
no script, no network, everything escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

Tone: TypeAlias = Literal["good", "plain", "warning", "bad"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One headline figure: its name, its value, its interval, and what it is compared with."""

    title: str
    value: str
    interval: str = ""
    note: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A figure as a data URI, with its caption; `alt` is read out where it cannot be seen.

    `link` is a file beside the page with the same at full size.
    """

    source: str
    alt: str
    caption: str
    wide: bool = True
    link: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table of strings; in a `numeric` one all columns after the first `text_columns` are right-aligned."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numeric: bool = True
    text_columns: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A highlighted sentence: what is missing and why, or what the reader has to know first."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """A line of links to files beside the page, as (words, relative path)."""

    items: tuple[tuple[str, str], ...]


Block: TypeAlias = Picture | Grid | Note | Links


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A titled part of the page; `anchor` is its id, `intro` one paragraph."""

    anchor: str
    title: str
    intro: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A whole page."""

    title: str
    subtitle: str
    banner: Note | None
    cards: tuple[Card, ...]
    sections: tuple[Section, ...]
    footer: str


KINDS = {Picture: "picture", Grid: "grid", Note: "note", Links: "links"}
"""The names of the blocks in the template."""


def render(page: Page) -> str:
    """Return the page as HTML; every string in it is escaped."""
    return _template().render(page=page, kinds=KINDS)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("srrd_ray.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("template.html")
