"""Hooks of MkDocs: API pages, the documents beside `docs/` as pages, and links between both kinds.

Documents are written for readers of the repository, with relative links. On the site a link to a document leads to its
page, and a link to another file of the repository becomes that file's name. Nothing of the package is imported: the API
pages are read off the source.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, DOCS = ROOT / "srrd_ray", ROOT / "docs"
BESIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "storage_schemas/README.md": "storage-schemas.md",
}
"""Documents outside `docs/`, and their pages."""
LINK = re.compile(r"(?<!!)\[(?P<words>[^\]]+)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"(```.*?```)", re.DOTALL)
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload)[^>]*\bhref=["']?(?:https?:)?//"""
)
"""What a page would load from elsewhere when it is opened."""


def packages() -> list[str]:
    """Return the names of the packages of `srrd_ray`."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Return the configuration with the pages of the API and of the decisions in its navigation."""
    records = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.glob("decisions/0*.md"))
    pages = {
        "API": ["api/index.md", *(f"api/{name}.md" for name in packages())],
        "Decisions": ["decisions/index.md", *records],
    }
    config.nav = _filled(config.nav, pages)
    return config


def _filled(nav: object, pages: dict[str, list[str]]) -> object:
    """Return the navigation with `pages` in the sections of their names."""
    if isinstance(nav, list):
        return [_filled(entry, pages) for entry in nav]
    if isinstance(nav, dict):
        return {name: pages.get(name) or _filled(entry, pages) for name, entry in nav.items()}
    return nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the API pages and the documents beside `docs/`."""
    pages = {
        page: _with_links((ROOT / path).read_text(encoding="utf-8"), path) for path, page in BESIDE.items()
    }
    pages |= {f"api/{name}.md": _api_page(name) for name in packages()}
    pages["api/index.md"] = _api_index()
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Return a page of `docs/` with the links that lead out of it as the site has them."""
    return markdown if page.file.generated_by else _with_links(markdown, f"docs/{page.file.src_uri}")


def on_post_build(config: MkDocsConfig) -> None:
    """Stop where a page would load anything from the network."""
    found = [
        path.name for path in Path(config.site_dir).rglob("*.html") if LOADED.search(path.read_text("utf-8"))
    ]
    if found:
        raise PluginError(f"pages that load from the network: {', '.join(sorted(found))}")


def _api_page(name: str) -> str:
    return f"# srrd_ray.{name}\n\n::: srrd_ray.{name}\n"


def _api_index() -> str:
    rows = [f"| [`{name}`]({name}.md) | {_sentence(name)} |" for name in packages()]
    head = "# API\n\nEvery package with its public functions and classes, from their docstrings.\n\n"
    return head + "| package | what it is for |\n|---|---|\n" + "\n".join(rows) + "\n"


def _sentence(name: str) -> str:
    """Return the docstring of a package, which is one line."""
    text = (PACKAGE / name / "__init__.py").read_text(encoding="utf-8")
    return text.removeprefix('"""').split('"""')[0].replace("|", "\\|")


def _with_links(text: str, path: str) -> str:
    """Return the text of a document at `path` in the repository, its links as the site has them; code stays as it is."""
    return "".join(
        _of_prose(part, path) if not part.startswith("```") else part for part in FENCE.split(text)
    )


def _of_prose(text: str, path: str) -> str:
    def replaced(found: re.Match[str]) -> str:
        return _link(found, path)

    return LINK.sub(replaced, text)


def _link(found: re.Match[str], path: str) -> str:
    """Return one link as the site has it."""
    if re.match(r"[a-z]+:", found["target"]):
        return found[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found["target"]))
    page = BESIDE.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
    if page is None:
        return found["words"] if (ROOT / target).exists() else found[0]
    here = BESIDE.get(path) or path.removeprefix("docs/")
    relative = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return f"[{found['words']}]({relative}{found['anchor'] or ''})"
