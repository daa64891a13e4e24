"""The parts of a page, and the page as one self-contained HTML file:
no script, no network, everything escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

Tone: TypeAlias = Literal["good", "plain", "warning", "bad"]
SIMULATED_COHORT = (
    "Simulated cohort: no image here is of a patient. The figures test the software and the method; they are "
    "not clinical results."
)


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
    """A table of strings; in a `numeric` one all columns after the first `text_columns` are right-aligned.

    The first column names its row. `faded` values are not to be used; `fine` tables are long lists of little
    interest, set small and in two columns. `label` names a table without a caption.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numeric: bool = True
    text_columns: int = 1
    faded: bool = False
    fine: bool = False
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A highlighted sentence: what is missing and why, or what the reader has to know first."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """A line of links to files beside the page, as (words, relative path)."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """Text to copy: paragraphs, or where `code` lines that stay as they are."""

    label: str
    lines: tuple[str, ...]
    code: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A box of a flow diagram: its place (units of the drawing) and its lines, the first in bold."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """A flow diagram drawn in the page: boxes, arrows as (x1, y1, x2, y2); `words` say the same in text."""

    title: str
    words: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[float, float, float, float], ...]


Block: TypeAlias = Picture | Grid | Note | Links | Text | Flow


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A titled part of the page; `anchor` is its id, `intro` one paragraph."""

    anchor: str
    title: str
    intro: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A whole page; the first of its `banners` is the first thing to be read."""

    title: str
    subtitle: str
    banners: tuple[Note, ...] = ()
    cards: tuple[Card, ...]
    sections: tuple[Section, ...]
    footer: str


KINDS = {
    Picture: "picture", Grid: "grid", Note: "note", Links: "links", Text: "text", Flow: "flow",
}  # fmt: skip
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
