"""Draws `docs/architecture.svg`: the packages of `srrd_ray` and who imports whom, read off the imports.

``python docs/draw_packages.py`` writes the drawing; ``--check`` ends with 1 where the drawing is not that of the code.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

PACKAGE = Path(__file__).resolve().parents[1] / "srrd_ray"
DRAWING = Path(__file__).with_name("architecture.svg")
Graph: TypeAlias = dict[str, set[str]]
Edge: TypeAlias = tuple[str, str]

BOX, GAP, BEND = 116.0, 22.0, 26.0
"""Width of a box, space between two, and width of the lane in which an arrow passes a row of boxes."""
HEIGHT, STEP, MARGIN, LEGEND = 34.0, 92.0, 28.0, 44.0
SWEEPS = 24
PITCHES = (300, 160, 130)
"""Widths of the entries of the legend."""
COLOURS = {
    "values": ("#e6f2ea", "#3c7a57", "values and arrays: reaches no storage"),
    "files": ("#e7eef8", "#3d6595", "reaches storage"),
    "ray": ("#fbeadb", "#b0662a", "imports Ray"),
}


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def owner(path: Path) -> str:
    """Return the package that a file belongs to; `cli` for the command line."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def package_graph() -> tuple[Graph, set[str]]:
    """Return the packages with those that each imports, and the packages that import Ray."""
    graph: Graph = {path.name: set() for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    graph["cli"] = set()
    with_ray = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        mine, names = owner(path), set(imported(path))
        if mine not in graph:
            continue
        graph[mine] |= {
            name.split(".")[1] for name in names if name.startswith("srrd_ray.")
        } & graph.keys() - {mine}
        if any(name.split(".")[0] == "ray" for name in names):
            with_ray.add(mine)
    return graph, with_ray


def reachable(graph: Graph) -> Graph:
    """Return the packages that each imports, directly or through others."""
    reach = {node: set(targets) for node, targets in graph.items()}
    for middle in sorted(graph):
        for node in graph:
            if middle in reach[node]:
                reach[node] |= reach[middle]
    return reach


def levels(reach: Graph) -> dict[str, int]:
    """Return the floor of each package, 0 at the ground; packages that import each other share one."""
    floor = dict.fromkeys(reach, 0)
    for _ in reach:
        for node in sorted(reach):
            below = [floor[target] + 1 for target in reach[node] if node not in reach[target]]
            floor[node] = max(below, default=0)
    return floor


def needed(graph: Graph, reach: Graph) -> list[Edge]:
    """Return the arrows that do not follow from others."""
    arrows = ((node, target) for node, targets in sorted(graph.items()) for target in sorted(targets))
    return [(node, target) for node, target in arrows if not _implied(node, target, graph, reach)]


def _implied(node: str, target: str, graph: Graph, reach: Graph) -> bool:
    others = (other for other in graph[node] if other != target and node not in reach[other])
    return any(target in reach[other] and other not in reach[target] for other in others)


@dataclass(slots=True)
class Layout:
    """Rows of names from the ground up: packages, and bends ``a>b@2`` where an arrow passes a row; `links` join neighbours."""

    rows: list[list[str]]
    links: list[Edge] = field(default_factory=list)
    paths: dict[Edge, list[str]] = field(default_factory=dict)
    x: dict[str, float] = field(default_factory=dict)


def lay_out(floor: Mapping[str, int], edges: list[Edge]) -> Layout:
    """Return the rows in an order with few crossings, and the place of each name across."""
    layout = Layout(
        rows=[sorted(n for n in floor if floor[n] == level) for level in range(max(floor.values()) + 1)]
    )
    for edge in edges:
        node, target = edge
        bends = [f"{node}>{target}@{level}" for level in range(floor[node] - 1, floor[target], -1)]
        for bend in bends:
            layout.rows[int(bend.split("@")[1])].append(bend)
        layout.paths[edge] = [node, *bends, target]
        layout.links += zip(layout.paths[edge], layout.paths[edge][1:], strict=False)
    for row in layout.rows:
        _spread(layout, row, dict.fromkeys(row, 0.0))
    for sweep in range(SWEEPS):
        for row in layout.rows if sweep % 2 else reversed(layout.rows):
            wanted = {name: _mean_of_neighbours(layout, name) for name in row}
            row.sort(key=lambda name, wanted=wanted: (wanted[name], name))  # type: ignore[misc]
            _spread(layout, row, wanted)
    return layout


def _mean_of_neighbours(layout: Layout, name: str) -> float:
    near = [layout.x[other] for link in layout.links if name in link for other in link if other != name]
    return sum(near) / len(near) if near else layout.x[name]


def _width(name: str) -> float:
    return BEND if "@" in name else BOX


def _spread(layout: Layout, row: list[str], wanted: Mapping[str, float]) -> None:
    """Place the names of a row as near to where they are wanted as their widths allow, in order."""
    edge, shifts = -float("inf"), []
    for name in row:
        left = max(wanted[name] - _width(name) / 2, edge)
        edge = left + _width(name) + GAP
        layout.x[name] = left + _width(name) / 2
        shifts.append(layout.x[name] - wanted[name])
    for name in row:
        layout.x[name] = round(layout.x[name] - sum(shifts) / len(shifts), 1)


def draw(graph: Graph, with_ray: set[str]) -> str:
    """Return the drawing as SVG."""
    reach = reachable(graph)
    floor, edges = levels(reach), needed(graph, reach)
    layout = lay_out(floor, edges)
    left = min(layout.x[name] - _width(name) / 2 for name in layout.x) - MARGIN
    width = max(layout.x[name] + _width(name) / 2 for name in layout.x) + MARGIN - left
    height = 2 * MARGIN + len(layout.rows) * STEP - (STEP - HEIGHT) + LEGEND
    top: dict[str, float] = {}
    for level, row in enumerate(reversed(layout.rows)):
        top |= dict.fromkeys(row, MARGIN + level * STEP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14">',
        "<title>The packages of srrd_ray; an arrow means: imports</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        *(
            _arrow([(layout.x[name] - left, top[name], "@" in name) for name in path])
            for path in layout.paths.values()
        ),
        *(
            _box(name, layout.x[name] - left, top[name], _kind(name, reach, with_ray))
            for name in sorted(graph)
        ),
        *_legend(height - LEGEND + 8),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _kind(name: str, reach: Graph, with_ray: set[str]) -> str:
    if name in with_ray:
        return "ray"
    return "files" if "storage" in {name, *reach[name]} else "values"


def _arrow(points: list[tuple[float, float, bool]]) -> str:
    """Return a curve from the bottom of the first box past the bends to the top of the last."""
    x, y, _ = points[0]
    y += HEIGHT
    curve = f"M{x:.1f} {y:.1f}"
    for next_x, next_y, bends in points[1:]:
        middle = (y + next_y) / 2
        curve += f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
        x, y = next_x, next_y + (HEIGHT if bends else 0.0)
        curve += f"L{x:.1f} {y:.1f}" if bends else ""
    return f'<path d="{curve}" fill="none" stroke="#777" stroke-width="1.2" marker-end="url(#tip)"/>'


def _box(name: str, x: float, y: float, kind: str) -> str:
    fill, line, _ = COLOURS[kind]
    return (
        f'<rect x="{x - BOX / 2:.1f}" y="{y:.1f}" width="{BOX:.0f}" height="{HEIGHT:.0f}" rx="6" fill="{fill}" stroke="{line}"/>'
        f'<text x="{x:.1f}" y="{y + HEIGHT / 2 + 5:.1f}" text-anchor="middle" fill="#222">{name}</text>'
    )


def _legend(y: float) -> Iterator[str]:
    for place, (fill, line, words) in enumerate(COLOURS.values()):
        x = MARGIN + sum(PITCHES[:place])
        yield (
            f'<rect x="{x:.0f}" y="{y:.0f}" width="22" height="14" rx="3" fill="{fill}" stroke="{line}"/>'
            f'<text x="{x + 30:.0f}" y="{y + 12:.0f}" fill="#444" font-size="13">{words}</text>'
        )


def main() -> int:
    """Write the drawing, or with ``--check`` compare it with the code."""
    drawing = draw(*package_graph())
    if "--check" not in sys.argv[1:]:
        DRAWING.write_text(drawing, encoding="utf-8")
        return 0
    if DRAWING.is_file() and DRAWING.read_text(encoding="utf-8") == drawing:
        return 0
    sys.stderr.write("docs/architecture.svg is not that of the code: run python docs/draw_packages.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
