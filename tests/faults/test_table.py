"""docs/faults.md says what is done about each fault; this keeps it true."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if re.match(r"\| \d", line)
]
NUMBERS = [row[0] for row in ROWS]
OF_RAY = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ray#")
]


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@cache
def strings() -> frozenset[str]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "srrd_ray").rglob("*.py"))
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return frozenset(text for text in constants if isinstance(text, str))


def test_every_fault_is_in_the_table_once() -> None:
    assert len(NUMBERS) == len(set(NUMBERS))
    assert set(NUMBERS) >= set(map(str, range(1, 79)))


@pytest.mark.parametrize("row", ROWS, ids=NUMBERS)
def test_a_row_has_a_status_codes_of_the_package_and_tests_that_exist(row: list[str]) -> None:
    number, met, status, codes, tests = row
    assert number
    assert met
    assert status
    unknown = [
        code for code in re.findall(r"`([^`]+)`", codes) if not any(s.startswith(code) for s in strings())
    ]
    assert unknown == []
    named = re.findall(r"`([^`:]+)::([^`]+)`", tests)
    assert named
    for path, name in named:
        assert name in functions_in(path), f"{path}::{name}"


def test_every_numbered_test_of_a_fault_belongs_to_a_row() -> None:
    files = list((ROOT / "tests" / "faults").glob("test_*.py"))
    found = {
        str(int(number))
        for path in files
        for name in functions_in(path.relative_to(ROOT).as_posix())
        for number in re.findall(r"(?<=_)\d\d(?=_)", name.removeprefix("test")[:7] + "_")
    }
    assert found <= set(NUMBERS)


@pytest.mark.parametrize("row", OF_RAY, ids=[row[0] for row in OF_RAY])
def test_a_fault_of_ray_has_a_script_that_names_it_and_tests_that_exist(row: list[str]) -> None:
    reports, *told, script, tests = row
    assert all(told)
    (path,) = re.findall(r"`(benchmarks/engine/\w+\.py)`", script)
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""
    assert all(f"ray#{number}" in docstring for number in re.findall(r"ray#(\d+)", reports))
    assert f"python {path}" in docstring
    for file, name in re.findall(r"`([^`:]+)::([^`]+)`", tests):
        assert name in functions_in(file), f"{file}::{name}"


def test_every_script_of_a_fault_of_ray_is_in_its_table() -> None:
    named = {name for row in OF_RAY for name in re.findall(r"benchmarks/engine/(\w+)\.py", row[-2])}
    assert named == {path.stem for path in (ROOT / "benchmarks" / "engine").glob("*.py")} - {"own_ray"}
