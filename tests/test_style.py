"""The style of the package as far as a machine can check it: no nested ternary, no long comprehension, no long line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "srrd_ray"
LONGEST = 110
FILES = sorted(ROOT.rglob("*.py"))
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def nested_ternaries(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of conditional expressions that are part of another one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp):
            yield from (
                child.lineno for child in ast.walk(node) if isinstance(child, ast.IfExp) and child is not node
            )


def long_comprehensions(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of comprehensions with several ``for`` that span lines."""
    for node in ast.walk(tree):
        if isinstance(node, Comprehension) and len(node.generators) > 1 and node.end_lineno != node.lineno:
            yield node.lineno


def long_lines(text: str) -> Iterator[int]:
    """Yield the lines of more than `LONGEST` characters."""
    yield from (number for number, line in enumerate(text.splitlines(), start=1) if len(line) > LONGEST)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_line_is_read_once(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    faults = {
        "nested ternary": sorted(set(nested_ternaries(tree))),
        "comprehension with several for over several lines": list(long_comprehensions(tree)),
        f"more than {LONGEST} characters": list(long_lines(text)),
    }
    assert {fault: lines for fault, lines in faults.items() if lines} == {}


def test_the_checks_find_what_they_look_for() -> None:
    assert list(nested_ternaries(ast.parse("a if b else c if d else e"))) == [1]
    assert list(nested_ternaries(ast.parse("f(a if b else c)"))) == []
    assert list(long_comprehensions(ast.parse("[a\n for b in c\n for a in b]"))) == [1]
    assert list(long_comprehensions(ast.parse("[a for b in c for a in b]"))) == []
    assert list(long_lines("x" * LONGEST + "\n" + "x" * (LONGEST + 1))) == [2]
