"""What a trained model tells whoever is given it: a record, its words on a terminal, and its README."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from srrd_ray.core.errors import ConfigError

RESEARCH: Final = "For research alone: no medical device, and no basis for a decision about a person."
NOT_STATED: Final = "not stated: whoever owns the data decides (srrd model export --licence)"
TAGS: Final = ("medical-imaging", "knee", "ct", "osteoarthritis", "trabecular-bone")
_LICENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure of a model; `value` is null where it could not be estimated, and `reason` says why.

    `digits` are the decimals shown.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    reason: str = ""
    digits: int = 2

    def text(self) -> str:
        """Return the figure with its 95 % interval.

        >>> Figure(name="ICC", value=0.5, interval=(0.25, 0.75)).text()
        '0.50 [0.25, 0.75]'
        >>> Figure(name="AUC", value=None, reason="one class").text()
        'not estimable: one class'
        """
        if self.value is None:
            return f"not estimable: {self.reason or 'no reason is stored'}"
        if self.interval is None:
            return f"{self.value:.{self.digits}f}"
        low, high = (f"{end:.{self.digits}f}" for end in self.interval)
        return f"{self.value:.{self.digits}f} [{low}, {high}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """All that is told of a model.

    Parameters
    ----------
    name, use
        What it is called, and what it is for.
    data
        What it learnt from, a line each. `simulated` is null where nobody knows.
    figures
        How good it was, in patients or knees that it never saw.
    limits
        What a user has to know, the worst first.
    licence
        An SPDX identifier; empty where none is stated.
    files
        SHA-256 of each file of weights.
    """

    name: str
    use: str
    data: tuple[str, ...]
    simulated: bool | None
    limits: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    licence: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.licence and not _LICENCE.match(self.licence):
            raise ConfigError(
                "licence-invalid", "no identifier of a licence", got=repr(self.licence[:24]),
                expected="letters, digits, dots and hyphens, e.g. Apache-2.0 or CC-BY-4.0",
                todo="Take the identifier from https://spdx.org/licenses.",
            )  # fmt: skip


def words(facts: ModelFacts) -> str:
    """Return the facts as text for a terminal."""
    return "\n".join(_words(facts)) + "\n"


def _words(facts: ModelFacts) -> Iterator[str]:
    yield facts.name
    yield f"  {facts.use}"
    yield f"licence: {facts.licence or NOT_STATED}"
    yield "learnt from:"
    yield from (f"  {line}" for line in facts.data)
    yield f"simulated: {_known(facts.simulated)}"
    yield "figures, with 95 % intervals:" if facts.figures else "figures: none are stored with it"
    width = max((len(figure.name) for figure in facts.figures), default=0)
    yield from (f"  {figure.name:<{width}}  {figure.text()}" for figure in facts.figures)
    yield "limits:"
    yield from (f"  {line}" for line in facts.limits)
    if facts.files:
        yield "files, SHA-256:"
        yield from (f"  {digest}  {name}" for name, digest in sorted(facts.files.items()))


def readme(facts: ModelFacts) -> str:
    """Return the facts as Markdown with the front matter that hubs of models read."""
    return "\n".join([*_front_matter(facts), "", *_sections(facts)]) + "\n"


def _front_matter(facts: ModelFacts) -> Iterator[str]:
    yield "---"
    yield f"license: {facts.licence.lower()}" if facts.licence else "license: other\nlicense_name: not-stated"
    yield "library_name: srrd-ray"
    yield "tags:"
    yield from (f"- {tag}" for tag in TAGS)
    yield "---"


def _sections(facts: ModelFacts) -> Iterator[str]:
    yield from (f"# {facts.name}", "", facts.use, "", f"**{RESEARCH}**", "", "## Data", "")
    yield from (f"- {line}" for line in facts.data)
    yield f"- Simulated: {_known(facts.simulated)}."
    yield from ("", "## Figures", "")
    if facts.figures:
        with_intervals = "With 95 % intervals, in" if any(f.interval for f in facts.figures) else "In"
        yield f"{with_intervals} people whom the network that read them never saw."
        yield from ("", "| figure | value |", "|---|---|")
        yield from (
            f"| {figure.name} | {figure.text().replace('|', chr(92) + '|')} |" for figure in facts.figures
        )
    else:
        yield "None are stored with this model."
    yield from ("", "## Limits", "")
    yield from (f"- {line}" for line in facts.limits)
    if facts.files:
        yield from ("", "## Files", "", "| file | SHA-256 |", "|---|---|")
        yield from (f"| `{name}` | `{digest}` |" for name, digest in sorted(facts.files.items()))
    yield from ("", "## Licence", "", facts.licence or NOT_STATED)


def _known(simulated: bool | None) -> str:
    match simulated:
        case True:
            return "yes, every image comes from a model of bone and scanner"
        case False:
            return "no"
        case None:
            return "not known: no metrics.json lies beside the model"
