from __future__ import annotations

from html.parser import HTMLParser

from srrd_ray.report.page import Card, Grid, Note, Page, Picture, Section, render

EVIL = "<script>alert('x')</script>\"'&"


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
    assert '<td>x</td><td>y</td><td class="n">1</td>' in render(one)


def test_the_same_page_is_the_same_text() -> None:
    assert render(page("a")) == render(page("a"))
