"""A folder of bone volumes to a table, a row each, through Ray Data.

The same command again measures only what is new or has changed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from srrd_ray.core.hashing import hash_json
from srrd_ray.execution.executor import Executor, PlainLoop
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.work import Task, WorkItem
from srrd_ray.imaging.folder_images import require_images
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import BETWEEN
from srrd_ray.measurement.row import SEAL, MeasureRow, failed_row, read_row, seal
from srrd_ray.measurement.table import Row, read_rows_of, require_table, write_rows
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import remove_tree

log = logging.getLogger(__name__)

NAME = "measure-folder"
DEFAULT = Recipe()


def measure_folder(
    folder: Path,
    out: Path,
    recipe: Recipe = DEFAULT,
    *,
    roi: Path | None = None,
    bone_mask: Path | None = None,
    executor: Executor | None = None,
) -> list[Row]:
    """Return a row for each image of `folder`, after writing them to `out` (``.parquet`` or ``.csv``).

    Rows are kept in a hidden folder next to `out` until the table is written, so that nothing is lost when
    the driver dies. A row of the same bytes and settings is reused.

    Parameters
    ----------
    recipe
        How each image is measured.
    roi, bone_mask
        Folders with a mask of the same name for each image, or null.
    executor
        Null for a plain loop in this process.

    Raises
    ------
    ConfigError
        `folder-empty`, `table-format`, `table-other-images`.
    """
    require_table(out)
    images = {hash_json(name)[:16]: name for name in require_images(folder, "measure")}
    root = out.resolve().with_name(f".{out.name}.rows")
    function = MeasureRow(
        folder=folder.resolve(),
        rows=root / "rows",
        images=images,
        roi=roi.resolve() if roi else None,
        bone_mask=bone_mask.resolve() if bone_mask else None,
        recipe=recipe,
    )
    with locked(root):
        _reuse_rows(read_rows_of(out, images.values()), function)
        for number, row in enumerate(_rows(function, root, executor or PlainLoop()), start=1):
            log.info(
                "measure %4d/%d  %s  %s  %s",
                number,
                len(images),
                row["image"],
                row["status"],
                _summarize(row),
            )
            for note in str(row["notes"] or "").split(BETWEEN):
                log.log(logging.WARNING if note else logging.DEBUG, "measure  %s  %s", row["image"], note)
        rows = [_row(function, name) for name in images]
        write_rows(out, sorted(rows, key=lambda row: str(row["image"])))
    remove_tree(root)
    return rows


def _summarize(row: Row) -> str:
    """Return the summary of a row for the log: its message, or the first of its values."""
    shown = [
        f"{name} {value:.4g}" for name in ("BV/TV", "Tb.Th", "Tb.Sp") if isinstance(value := row[name], float)
    ]
    return str(row["message"] or ", ".join(shown))


def _reuse_rows(rows: Sequence[Row], function: MeasureRow) -> None:
    """Write the rows of an older table as files, so that they are reused where images have not changed.

    A row that somebody has changed in the table is not: its image is measured again.
    """
    for row in rows:
        path = function.rows / f"{hash_json(row['image'])[:16]}.json"
        if row["input_sha256"] and row.get(SEAL) != seal(row):
            log.warning("measure  %s  its row was changed in the table: measured again", row["image"])
        elif row["input_sha256"] and not path.exists():
            write_text(path, json.dumps(row, ensure_ascii=False))


def _rows(function: MeasureRow, root: Path, executor: Executor) -> Iterator[Row]:
    """Yield the rows as they come, in no fixed order; every image is checked, and unchanged rows are kept."""
    task = Task(stage=NAME, layout=RunLayout(root=root), function=function, shared_storage_probe=root / LOCK)
    items = [WorkItem(name=name, input_hash=function.settings) for name in function.images]
    with Runner(executor=executor) as runner:
        for item, _, _ in runner.run_items(task, items, redo=frozenset(function.images)):
            yield _row(function, item.name)


def _row(function: MeasureRow, name: str) -> Row:
    path = function.rows / f"{name}.json"
    known = read_row(path)
    if known is not None:
        return known
    if path.is_file():
        row: dict[str, float | int | str | None] = json.loads(path.read_text(encoding="utf-8"))
        return row
    reason = "its worker died, most often for want of memory; run the same command again, or measure it alone"
    return failed_row(function.images[name], function.settings, "worker-lost", f"[worker-lost] {reason}")
