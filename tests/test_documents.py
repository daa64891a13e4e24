"""The documents agree with the repository: links, files, commands, the drawing, the tables made from code, moved imports."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tyro

from srrd_ray.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
BESIDE = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "storage_schemas/README.md")
]
DOCUMENTS = [*BESIDE, *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
NAMED = re.compile(r"`((?:srrd_ray|tests|docs|benchmarks|jobs|examples|storage_schemas)/[\w./-]*)")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SPAN = re.compile(r"`srrd ([a-z][^`…]*)`")
BESIDE_A_COMMAND = {"--help", "--verbose", "--quiet"}
"""Options of every command."""
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


def commands_in(path: Path) -> list[list[str]]:
    """Return the commands of the blocks of a document, each as its words."""
    lines = "\n".join(BLOCK.findall(path.read_text(encoding="utf-8"))).replace("\\\n", " ").splitlines()
    return [words for line in lines for words in split_commands(line)]


def split_commands(line: str) -> Iterator[list[str]]:
    words = shlex.split(line, comments=True)
    for part in " ".join(shlex.quote(word) for word in words).split(" '&&' "):
        found = shlex.split(part)
        ends = [place for place, word in enumerate(found) if word in (">", "|")]
        yield found[: ends[0]] if ends else found


def parse(words: list[str]) -> str:
    """Parse the words of a command as `srrd` does, carry nothing out, and return what was printed, its help."""
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    rest = words[len(name.split()) :]
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        try:
            tyro.cli(idle(COMMANDS[name]), args=rest, config=(tyro.conf.DisallowNone,))
        except SystemExit as ended:
            if ended.code:
                raise AssertionError(words) from ended
    return told.getvalue()


def idle(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command of the same options that does nothing."""

    @functools.wraps(command)
    def nothing(*_: object, **__: object) -> int:
        return 0

    return nothing


@every_document
def test_every_command_of_srrd_in_a_block_is_understood(path: Path) -> None:
    for words in commands_in(path):
        if words[:1] == ["srrd"] and not words[1].startswith("--"):
            parse(words[1:])


@pytest.mark.parametrize("text", ["run --cohort c --out o --bogus 1", "run --out o", "measure b --from xray"])
def test_a_command_that_srrd_would_refuse_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        parse(text.split())


@every_document
def test_every_script_and_every_target_that_a_block_calls_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = commands_in(path)
    scripts = {word for words in commands if "python" in words for word in words if word.endswith(".py")}
    assert [script for script in scripts if not (ROOT / script).is_file()] == []
    assert {words[1] for words in commands if words[:1] == ["make"]} <= targets


@every_document
def test_every_option_that_the_prose_names_is_one_of_its_command(path: Path) -> None:
    if path.name == "CHANGELOG.md":
        pytest.skip("it tells of commands as they were")
    wrong = []
    for span in SPAN.findall(prose(path)):
        name = next(
            (name for name in sorted(COMMANDS, key=len, reverse=True) if f"{span} ".startswith(f"{name} ")),
            "",
        )
        options = set(re.findall(r"--[a-z][\w-]*", span)) - BESIDE_A_COMMAND
        if name and not options <= options_of(name):
            wrong.append(span)
    assert wrong == []


@functools.cache
def options_of(name: str) -> set[str]:
    """Return the options of a command, from its help."""
    return set(re.findall(r"--[a-z][\w-]*", parse([*name.split(), "--help"])))
