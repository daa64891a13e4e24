"""A folder of bone volumes, a row each, through Ray Data; the same command again measures only what is new or has changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from srrd_ray.cluster.foreach import foreach
from srrd_ray.cluster.session import session
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import hash_json
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.work import Task, WorkItem, run_safely
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.row import RowTask, failed_row, find_images, read_row
from srrd_ray.measurement.table import Row, read_rows, require_table, write_rows
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import list_sizes, remove_tree

log = logging.getLogger(__name__)

STAGE = "measure-folder"
DEFAULT = Recipe()


def measure_folder(
    folder: Path,
    out: Path,
    recipe: Recipe = DEFAULT,
    *,
    roi: Path | None = None,
    bone_mask: Path | None = None,
    cluster: ClusterConfig | None = None,
) -> list[Row]:
    """Return a row for each image of `folder`, after writing them to `out` (``.parquet`` or ``.csv``).

    Rows lie beside `out` in a hidden folder until the table is written, so that nothing is lost when the driver dies. A
    row that is there for the same bytes and settings is kept.

    Parameters
    ----------
    recipe
        How each image is measured.
    roi, bone_mask
        Folders with a mask of the same name for each image, or null.
    cluster
        Null for a plain loop in this process.

    Raises
    ------
    ConfigError
        `folder-empty`, `table-format`.
    """
    require_table(out)
    images = {hash_json(name)[:16]: name for name in find_images(folder)}
    if not images:
        raise ConfigError(
            "folder-empty", "no image in the folder", where=folder.name,
            expected="NIfTI, NRRD, MHA, OME-Zarr or folders of DICOM files",
        )  # fmt: skip
    root = out.resolve().with_name(f".{out.name}.rows")
    act = RowTask(
        folder=folder.resolve(),
        rows=root / "rows",
        images=images,
        roi=roi.resolve() if roi else None,
        bone_mask=bone_mask.resolve() if bone_mask else None,
        recipe=recipe,
    )
    with locked(root), ExitStack() as stack:
        _keep_known(out, act)
        if cluster is not None:
            stack.enter_context(session(cluster))
        for number, row in enumerate(_rows(act, root, cluster), start=1):
            log.info("measure %4d/%d  %s  %s  %s", number, len(images), row["image"], row["status"], _words(row))
        rows = [_row(act, name) for name in images]
        write_rows(out, sorted(rows, key=lambda row: str(row["image"])))
    remove_tree(root)
    return rows


def _words(row: Row) -> str:
    """Return what a row says in the log: its message, or the first of its values."""
    shown = [f"{name} {value:.4g}" for name in ("BV/TV", "Tb.Th", "Tb.Sp") if isinstance(value := row[name], float)]
    return str(row["message"] or ", ".join(shown))


def _keep_known(out: Path, act: RowTask) -> None:
    """Lay out the rows of an older table, so that they are found where the images have not changed."""
    if not out.is_file():
        return
    for row in read_rows(out):
        path = act.rows / f"{hash_json(row['image'])[:16]}.json"
        if row["input_sha256"] and not path.exists():
            write_text(path, json.dumps(row, ensure_ascii=False))


def _rows(act: RowTask, root: Path, cluster: ClusterConfig | None) -> Iterator[Row]:
    """Yield the rows as they come, in no fixed order."""
    task = Task(stage=STAGE, layout=RunLayout(root=root), act=act, shared_storage_probe=root / LOCK)
    units = [WorkItem(name=name, key=act.settings) for name in act.images]
    waiting = dict(act.images)
    stride = max(1, len(units) // 200)  # so that looking for fresh rows does not grow with the square of the folder
    results = foreach(task, units, cluster) if cluster is not None else (run_safely(task, unit) for unit in units)
    before = {name: _stamp(act, name) for name in waiting}
    for number, _ in enumerate(results, start=1):
        if number % stride and number < len(units):
            continue
        fresh = [name for name in waiting if _stamp(act, name) != before[name]]
        for name in fresh:
            del waiting[name]
            yield _row(act, name)


def _stamp(act: RowTask, name: str) -> object:
    """Return what changes when a row is written."""
    path = act.rows / f"{name}.json"
    return list_sizes(path) if path.is_file() else None


def _row(act: RowTask, name: str) -> Row:
    path = act.rows / f"{name}.json"
    known = read_row(path)
    if known is not None:
        return known
    if path.is_file():
        row: dict[str, float | int | str | None] = json.loads(path.read_text(encoding="utf-8"))
        return row
    words = "its worker died, most often for want of memory; run the same command again, or measure it alone"
    return failed_row(act.images[name], act.settings, "worker-lost", f"[worker-lost] {words}")
