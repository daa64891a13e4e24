"""The house rules that a machine can check: three rings, sizes, no pickle, small jobs."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "srrd_ray"
FILES = sorted(PACKAGE.rglob("*.py"))
NUMERICS = (
    "statistics",
    "morphometry",
    "registration",
    "patches",
    "synthesis",
    "distillation",
    "diagnosis",
    "simulation",
    "segmentation",
)
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    **{name: {"core", *NUMERICS[:place]} for place, name in enumerate(NUMERICS)},
    "storage": {"core"},
    "imaging": {"core", "storage"},
    "cohort": {"core", "storage", "imaging"},
    "knee_bones": {"core", *NUMERICS, "storage", "imaging"},
    "execution": {"core", "storage"},
    "cluster": {"core", "storage", "execution"},
    "report": {"core", "statistics", "morphometry"},
    "stages": {"core", *NUMERICS, "storage", "imaging", "cohort", "knee_bones", "execution", "report"},
    "pipeline": {"core", *NUMERICS, "storage", "imaging", "cohort", "knee_bones", "execution", "stages"},
    "measurement": {"core", *NUMERICS, "storage", "imaging", "knee_bones", "execution", "report"},
    "sharing": {"core", *NUMERICS, "storage", "knee_bones", "stages", "report"},
}
"""The packages, from the ground up, and what each may import of ours."""
MAY_IMPORT["commands"] = set(MAY_IMPORT)
FILE_LIBRARIES = ("zarr", "nibabel", "pydicom", "nrrd", "pyarrow")
OFFLINE_ONLY = (
    "urllib.request",
    "http.client",
    "socketserver",
    "pickle",
    "shelve",
    "marshal",
    "dill",
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def uses(path: Path, library: str) -> bool:
    return any(name == library or name.startswith(f"{library}.") for name in imports(path))


def functions() -> Iterator[tuple[Path, Function, int]]:
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, Function):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                yield path, node, (body[-1].end_lineno or 0) - body[0].lineno + 1


def below(path: Path, *packages: str) -> bool:
    return path.relative_to(PACKAGE).parts[0] in packages


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def own_imports(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, at its top or inside a function."""
    return {name for name in imports(path) if name in MODULES and name not in ("srrd_ray", module_of(path))}


def reached_from(package: str) -> set[str]:
    """Return the packages that are loaded, at once or later, where one is imported."""
    waiting, seen = [name for name in MODULES if name.split(".")[1:2] == [package]], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += own_imports(MODULES[name])
    return {name.split(".")[1] for name in seen} - {package}


def test_the_top_holds_the_command_line_and_packages_alone() -> None:
    assert {p.name for p in PACKAGE.iterdir() if p.is_file()} == {"__init__.py", "cli.py", "py.typed"}
    assert {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_what_the_design_allows(package: str) -> None:
    found = {
        f"{module_of(path)} -> {name}"
        for path in FILES
        if below(path, package)
        for name in own_imports(path)
        if name.split(".")[1] not in {package, *MAY_IMPORT[package]}
    }
    assert found == set()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_reaches_nothing_above_it_by_any_way(package: str) -> None:
    allowed, waiting = set[str](), [package]
    while waiting:
        fresh = MAY_IMPORT[waiting.pop()] - allowed
        allowed |= fresh
        waiting += fresh
    assert reached_from(package) <= allowed


@pytest.mark.parametrize("package", NUMERICS)
def test_numerics_reach_no_store(package: str) -> None:
    assert not reached_from(package) & (set(MAY_IMPORT) - {"core", *NUMERICS})


def test_only_cluster_imports_ray() -> None:
    assert [p for p in FILES if uses(p, "ray") and not below(p, "cluster")] == []


@pytest.mark.parametrize("library", [*FILE_LIBRARIES, "logging", "time"])
def test_numerics_know_no_files_and_no_clock(library: str) -> None:
    assert [p for p in FILES if below(p, *NUMERICS) and uses(p, library)] == []


@pytest.mark.parametrize("library", OFFLINE_ONLY)
def test_nothing_reaches_the_network_or_runs_code_from_files(library: str) -> None:
    assert [p for p in FILES if uses(p, library)] == []


@pytest.mark.parametrize("library", ["requests", "dicomweb_client"])
def test_dicomweb_alone_asks_servers(library: str) -> None:
    assert [p for p in FILES if uses(p, library) and not below(p, "imaging")] == []


@pytest.mark.parametrize(
    "call", ["eval(", "exec(", "shell=True", "yaml.load(", "torch.load(", "torch.save(", "print("]
)
def test_forbidden_calls_are_absent(call: str) -> None:
    name = call.rstrip("(")
    found = [
        p
        for p in FILES
        for node in ast.walk(tree(p))
        if (isinstance(node, ast.Call) and ast.unparse(node.func) == name)
        or (call == "shell=True" and isinstance(node, ast.keyword) and ast.unparse(node) == call)
    ]
    assert found == []


def test_files_stay_below_400_lines() -> None:
    assert {p.name: n for p in FILES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400} == {}


def test_functions_stay_short() -> None:
    lengths = [n for _, _, n in functions()]
    assert {f"{p.name}:{f.name}": n for p, f, n in functions() if n > 60} == {}
    assert statistics.median(lengths) <= 10
    assert sorted(lengths)[int(0.9 * len(lengths))] <= 30


def is_kernel(function: Function) -> bool:
    """Compiled kernels take plain arrays and numbers: numba knows no records."""
    return any(
        ast.unparse(decorator).lstrip("_").startswith(("compiled", "inlined"))
        for decorator in function.decorator_list
    )


def test_functions_take_at_most_five_positional_arguments() -> None:
    found = [
        f"{p.name}:{f.name}"
        for p, f, _ in functions()
        if not is_kernel(f)
        and len([a for a in f.args.posonlyargs + f.args.args if a.arg not in ("self", "cls")]) > 5
    ]
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    assert [p for p in FILES if not ast.get_docstring(tree(p))] == []


def test_jobs_are_short() -> None:
    assert [p for p in sorted((ROOT / "jobs").glob("*.py")) if len(p.read_text().splitlines()) > 40] == []


def test_bones_are_found_without_the_simulator() -> None:
    waiting, seen = ["srrd_ray.knee_bones.segmenter_model", "srrd_ray.segmentation.inference"], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += own_imports(MODULES[name])
    assert {name for name in seen if name.startswith("srrd_ray.simulation")} == set()
