from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from srrd_ray.report import page as page_module
from srrd_ray.report.page import Card, Grid, Note, Page, Picture, Section, Text, render

EVIL = "<script>alert('x')</script>\"'&"
CARD = Card(title="c", value="1")


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(text: str) -> Page:
    blocks = (
        Note(text=text),
        Picture(source="data:image/png;base64,AA", alt=text, caption=text),
        Grid(header=(text, "n"), rows=((text, "1"),), caption=text),
    )
    return Page(
        title=text,
        subtitle=text,
        banners=(Note(text=text),),
        cards=(Card(title=text, value="1", interval=text, note=text),),
        sections=(Section(anchor="a", title=text, intro=text, blocks=blocks),) * 3,
        footer=text,
    )


def test_no_string_of_a_page_becomes_markup() -> None:
    found = Reader(render(page(EVIL)))
    assert "script" not in found.tags
    assert found.words.count(EVIL) >= 10
    assert ("alt", EVIL) in found.attributes


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    text = render(page("words"))
    found = Reader(text)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    sources = [value for name, value in found.attributes if name in ("src", "href") and value]
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert "default-src 'none'" in text


def test_columns_of_numbers_are_set_to_the_right_and_words_are_not() -> None:
    grid = Grid(header=("a", "b", "c"), rows=(("x", "y", "1"),), text_columns=2)
    one = Page(
        title="t",
        subtitle="",
        cards=(),
        footer="",
        sections=(Section(anchor="s", title="s", intro="", blocks=(grid,)),),
    )
    assert '<th scope="row">x</th><td>y</td><td class="n">1</td>' in render(one)


def test_the_same_page_is_the_same_text() -> None:
    assert render(page("a")) == render(page("a"))


def test_every_table_has_headers_of_columns_and_rows_and_can_be_scrolled_by_keyboard() -> None:
    text = render(page("words"))
    assert text.count("<table") == text.count('tabindex="0" role="region" aria-label="Table: words"') == 3
    assert text.count('<th scope="col"') == 3 * 2
    assert text.count('<th scope="row"') == 3


def test_headings_go_down_one_level_at_a_time() -> None:
    code = Text(label="to copy", lines=("a",), code=True)
    sections = (Section(anchor="a", title="s", intro="", blocks=(code,)),)
    text = render(Page(title="t", subtitle="", cards=(CARD,), sections=sections, footer=""))
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_first_banner_stands_before_everything_else() -> None:
    text = render(page("words"))
    assert text.index('class="message banner') < text.index('class="card ')


def _contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2 of two colours, #rgb or #rrggbb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * sign for sign in colour[1:])
        parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_every_ground(mode: int) -> None:
    style = (Path(page_module.__file__).parent / "template.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w+);", re.findall(r":root \{(.*?)\}", style)[mode]))
    for text in ("ink", "soft", "blue", "faded"):
        assert _contrast(colours[text], colours["paper"]) >= 4.5, text
    for ground in ("ground", "note", "warn", "bad", "good"):
        assert _contrast(colours["ink"], colours[ground]) >= 4.5, ground
    assert _contrast(colours["soft"], colours["ground"]) >= 4.5
