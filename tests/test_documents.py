"""The documents agree with the repository: links, files that they name, the drawing, the tables made from code, moved imports."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BESIDE = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "storage_schemas/README.md")
]
DOCUMENTS = [*BESIDE, *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]\n]+\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
NAMED = re.compile(r"`((?:srrd_ray|tests|docs|benchmarks|jobs|examples|storage_schemas)/[\w./-]*)")
GENERATED = {ROOT / "docs" / "api" / "index.md"}
"""Pages that exist on the site alone."""

every_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix()
)


def prose(path: Path) -> str:
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a document, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@every_document
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    broken = []
    for found in LINK.finditer(prose(path)):
        if re.match(r"[a-z]+:", found["target"]):
            continue
        target = (path.parent / found["target"]).resolve() if found["target"] else path
        if target in GENERATED:
            continue
        if not target.exists() or (found["anchor"] and found["anchor"] not in anchors(target)):
            broken.append(found[0])
    assert broken == []


@every_document
def test_every_file_of_the_repository_that_is_named_exists(path: Path) -> None:
    assert [name for name in NAMED.findall(prose(path)) if not (ROOT / name).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "index.md").read_text(encoding="utf-8")
    assert [path.name for path in folder.glob("0*.md") if f"({path.name})" not in index] == []


def test_moved_imports_lead_to_modules_that_exist() -> None:
    rows = re.findall(
        r"^\| `srrd_ray\.[\w.]+` \| `(srrd_ray[\w.]+)` \|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 50
    assert [name for name in rows if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


@pytest.mark.parametrize("script", ["draw_packages.py", "fill_tables.py"])
def test_what_is_made_from_the_code_is_up_to_date(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "docs" / script), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().err
