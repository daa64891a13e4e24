"""One image of a folder becomes one row: measured, kept from an earlier run, or failed with what is wrong.
No Ray.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.one_line import printable
from srrd_ray.core.records import Fault
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.imaging.places import require_there
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import Flat
from srrd_ray.measurement.table import WHOLE, Row
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.schemas import validate

AXES = (
    *(f"DA.eigenvalue{n}" for n in (1, 2, 3)),
    *(f"DA.axis{n}.{name}" for n in (1, 2, 3) for name in "zyx"),
)
KEYS = (
    "BV/TV", "Tb.Th", "Tb.Th.SD", "Tb.Th.max", "Tb.Sp", "Tb.Sp.SD", "Tb.Sp.max", "Tb.N", "Tb.N(spacing)",
    "Tb.N(ridge)",
    "BS", "BS/BV", "BS/TV", "Euler", "Euler.corrected", "Conn.D", "DA", *AXES, "SMI", "Tb.Pf", "FD",
    "n_voxels", "coverage",
    "threshold", "method", "units", "notes", "software", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm",
)  # fmt: skip
HASHES = ("image_sha256", "input_sha256")
SEAL = "row_sha256"
NOT_OF_A_ROW = ("spacing_mm", "status", "image", *HASHES)


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureRow:
    """Measures the image of a work item and writes its row into `rows`; a row of the same bytes is kept.

    `images` maps names of items to paths below `folder`; `roi` and `bone_mask` are folders with a mask of the
    same name for each image.
    """

    folder: Path
    rows: Path
    images: Mapping[str, str]
    roi: Path | None
    bone_mask: Path | None
    recipe: Recipe

    def __call__(self, item: WorkItem) -> Produced:
        """Return the row's file."""
        path = self.rows / f"{item.name}.json"
        try:
            row = self._row(self.images[item.name], path)
        except Exception as error:  # a bad image becomes a row with its error, and the others go on
            fault = Fault.from_error(error)
            row = failed_row(self.images[item.name], self.settings, fault.code, fault.message)
        write_text(path, json.dumps(dict(row), ensure_ascii=False))
        return Produced(paths=(path,))

    @property
    def settings(self) -> str:
        """Hash of all that the measures depend on except the image."""
        return self.recipe.settings(roi=self.roi is not None, bone_mask=self.bone_mask is not None)

    def _row(self, name: str, path: Path) -> Row:
        image = self.folder / name
        roi, bone_mask = (_find_by_name(folder, name) for folder in (self.roi, self.bone_mask))
        hashes = hash_inputs(image, roi, bone_mask)
        known = read_row(path)
        now = (hashes["input_sha256"], self.settings, printable(name))
        if known and (known["input_sha256"], known["settings"], known["image"]) == now:
            return known
        measures = measure_image(image, self.recipe, roi=roi, bone_mask=bone_mask, threads=1)
        return make_row(name, self.settings, measures | hashes)


def _find_by_name(folder: Path | None, name: str) -> Path | None:
    if folder is None:
        return None
    if not (folder / name).exists():
        raise InputError(
            "mask-missing",
            "no mask of this name",
            where=name,
            todo="Put one there, or leave the folder of masks out.",
        )
    return folder / name


def hash_inputs(image: Path, *masks: Path | None) -> Flat:
    """Return the hash of an image, as `sha256sum` gives it of a file, and that with its masks."""
    paths = [path for path in (image, *masks) if path is not None]
    for path in paths:
        require_there(path)
    hashes = [hash_file(path) for path in paths]
    return {"image_sha256": hashes[0], "input_sha256": hash_json(hashes)}


def make_row(name: str, settings: str, measures: Flat) -> Row:
    """Return the row of an image that was measured; `measures` with the hashes of what was read."""
    spacing = measures["spacing_mm"]
    z, y, x = spacing if isinstance(spacing, list) else (spacing,) * 3
    row: dict[str, float | int | str | None] = {"image": printable(name), "status": str(measures["status"])}
    row |= {"code": None, "message": None}
    row |= {k: v for k, v in measures.items() if k not in NOT_OF_A_ROW and not isinstance(v, list)}
    row |= {f"spacing_{axis}_mm": float(str(step)) for axis, step in zip("zyx", (z, y, x), strict=True)}
    row |= {name: str(measures[name]) for name in HASHES} | {"settings": settings}
    return row | {SEAL: seal(row)}


def failed_row(name: str, settings: str, code: str, message: str) -> Row:
    """Return the row of an image that could not be measured."""
    row: dict[str, float | int | str | None] = {
        "image": printable(name),
        "status": "failed",
        "code": code,
        "message": printable(message),
    }
    return row | dict.fromkeys(KEYS) | dict.fromkeys(HASHES) | {"settings": settings, SEAL: None}


def seal(row: Row) -> str:
    """Return a hash of all that a row holds: a cell that somebody changes later changes it.

    Numbers count as a table has them, empty cells not at all: a table has the columns of all its rows.
    """
    held = {name: value for name, value in sorted(row.items()) if value not in (None, "") and name != SEAL}
    return hash_json(
        {
            name: value if isinstance(value, str) or name in WHOLE else float(value)
            for name, value in held.items()
        }
    )


def read_row(path: Path) -> dict[str, float | int | str | None] | None:
    """Return the row at `path`; null where there is none, or it is torn or failed: it is then made anew."""
    if not path.is_file():
        return None
    try:
        row: dict[str, float | int | str | None] = json.loads(path.read_text(encoding="utf-8"))
        validate("bone", row, path.name)
    except (ValueError, OSError):
        return None
    return row if row["input_sha256"] else None
