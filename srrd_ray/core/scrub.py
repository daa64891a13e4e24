"""Text that may leave the hospital: only what is known to be harmless passes,
and everything else is replaced.

Harmless are the words in this package's own strings, short plain numbers, and knees under running numbers.
Names, dates, UIDs, paths and identifiers are none of these, wherever they come from.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
SILENT = ("report", "simulation")
"""Packages whose strings are no messages but captions, which cite people."""
OPENING, CLOSING = "'\"([{<`", "'\")]}>`.,:;!?"
_KNEE = re.compile(r"sub-([A-Za-z0-9]+)(_side-[LR])?")
_NUMBER = re.compile(r"[+\-−]?(0|[1-9]\d{0,3})(\.\d{1,4})?(e[+-]?\d{1,2})?%?")
_YEAR = re.compile(r"(19|20)\d\d")
_SHARD = re.compile(r"shard-\d{5}")
_UNEXPECTED = re.compile(r"unexpected-[A-Za-z]{1,40}(Error|Exception)")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scrubber:
    """Replaces what may not pass; the same participant has the same running number everywhere (`numbers`)."""

    numbers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def for_participants(cls, participants: Iterable[str]) -> Scrubber:
        """Return a scrubber that also replaces these participants' ids where they occur without ``sub-``."""
        scrubber = cls()
        for participant in participants:
            scrubber.running_number(participant)
        return scrubber

    def running_number(self, participant: str) -> str:
        """Return the running number of a participant: ``n0001``, in order of first occurrence."""
        return self.numbers.setdefault(participant, f"n{len(self.numbers) + 1:04d}")

    def scrub_text(self, text: str) -> str:
        """Return `text` with every word replaced that is not known to be harmless."""
        return "".join(self._word(part) for part in re.split(r"(\s+)", text))

    def scrub_line(self, line: str) -> str:
        """Return a line of a log; the time of day at its beginning stays."""
        first, space, rest = line.partition(" ")
        return f"{first}{space}{self.scrub_text(rest)}" if _CLOCK.fullmatch(first) else self.scrub_text(line)

    def scrub_code(self, code: str) -> str:
        """Return the code of an error where it is one of ours or the type of an unexpected one."""
        return code if code in known_words() or _UNEXPECTED.fullmatch(code) else "<code>"

    def scrub_data(self, data: object) -> object:
        """Return plain JSON data with its keys and strings scrubbed; numbers stay."""
        match data:
            case str():
                return self.scrub_text(data)
            case Mapping():
                return {self.scrub_text(str(key)): self.scrub_data(value) for key, value in data.items()}
            case list():
                return [self.scrub_data(value) for value in data]
            case _:
                return data

    def _word(self, word: str) -> str:
        inner = word.lstrip(OPENING)
        before, core = word[: len(word) - len(inner)], inner.rstrip(CLOSING)
        quoted = any(mark in before for mark in "'\"`")
        return f"{before}{self._core(core, quoted=quoted)}{inner[len(core) :]}"

    def _core(self, core: str, *, quoted: bool) -> str:
        knee = _KNEE.search(core)
        if knee is not None:
            name = f"sub-{self.running_number(knee[1])}{knee[2] or ''}"
            return name if knee[0] == core else f"{name}<path>"
        if core in self.numbers:
            return self.numbers[core]
        number = _NUMBER.fullmatch(core) and not _YEAR.fullmatch(core) and not quoted
        if not core or not core.strip() or number or core in known_words() or _SHARD.fullmatch(core):
            return core
        if not any(c.isalpha() for c in core):
            return "<number>"
        return "<path>" if "/" in core or "\\" in core else "<word>"


@cache
def known_words() -> frozenset[str]:
    """Return the words in the strings of this package, docstrings left out, and the names of its fields."""
    words: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in SILENT:
            for text in _strings(ast.parse(path.read_text(encoding="utf-8"))):
                words |= {word.lstrip(OPENING).rstrip(CLOSING) for word in text.split()}
    return frozenset(word for word in words if any(c.isalpha() for c in word) and not _is_address(word))


def _strings(tree: ast.Module) -> Iterator[str]:
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _is_address(word: str) -> bool:
    return "\\" in word or "://" in word or word.count("/") > 1 or word.startswith(("/", "~"))
