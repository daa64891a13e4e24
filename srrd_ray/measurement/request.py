"""`srrd measure`: one volume in one piece or in blocks, or a folder of volumes;
what is written, and with which exit code.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from srrd_ray.core.console import to_own_error
from srrd_ray.core.errors import ConfigError, exit_code
from srrd_ray.core.one_line import printable
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import Executor
from srrd_ray.imaging.folder_images import is_one_image
from srrd_ray.imaging.foreign_zarr import is_group, open_image
from srrd_ray.measurement import bone_picture
from srrd_ray.measurement.folder import measure_folder
from srrd_ray.measurement.image import measure_with_maps
from srrd_ray.measurement.places import check_places
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import BETWEEN, Flat, MeasuredImage, flatten, to_text, write_maps
from srrd_ray.measurement.row import hash_inputs, make_row
from srrd_ray.measurement.table import is_table, read_rows_of, write_rows
from srrd_ray.measurement.volume import Measured, clean, measure_volume, write_nrrds
from srrd_ray.morphometry.structure import BOX
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.paths import ObjectPath

log = logging.getLogger(__name__)

LARGE = 400_000_000
"""Voxels above which an OME-Zarr is measured in blocks by default: in one piece it would take some 8 GB."""
EDGE = 256
BLOCK_MB = 3500
DEFAULT = Recipe()
Made: TypeAlias = tuple[Flat, list[Callable[[], None]]]
"""The measures of a volume, and what is to be made after they are out."""
WORDS = {
    "no-bone": "no bone in the region: no thickness",
    "all-bone": "nothing but bone in the region: no spacing",
    "empty-roi": "the region is empty: nothing was measured",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to measure and where to write it; see `srrd measure --help`."""

    image: Path
    recipe: Recipe = DEFAULT
    roi: Path | None = None
    bone_mask: Path | None = None
    out: Path | None = None
    maps: Path | None = None
    picture: Path | None = None
    blocks: int = 0
    cpus: int = 0


def measure(request: Request, make_executor: Callable[[ClusterConfig], Executor]) -> int:
    """Return the exit code: 0 measured, 1 where a volume has no value or could not be read.

    The status of the volume says why. The numbers are written and printed before maps and picture are: where
    one of those fails it is said, and the exit code is that of its error.
    """
    check_places(
        request.image,
        masks=(request.roi, request.bone_mask),
        out=request.out,
        picture=request.picture,
        maps=request.maps,
    )
    _require_masks(request)
    if not is_one_image(request.image):
        return _folder(request, make_executor)
    if request.out is not None and is_table(request.out):
        read_rows_of(request.out, [request.image.name])  # before the work: rows of others are not lost
    if _wants_blocks(request):
        found, extras = _in_blocks(request, make_executor)
    else:
        found, extras = _in_one_piece(request)
    found |= {"image": printable(request.image.name)}
    found |= hash_inputs(request.image, request.roi, request.bone_mask)
    if request.out is not None:
        _write(request, request.out, found)
    _say(request.image, found)
    sys.stdout.write(to_text(found))
    sys.stdout.flush()
    codes = [0 if found["status"] == "ok" else 1, *(_code_of(extra) for extra in extras)]
    return max(codes)


def _require_masks(request: Request) -> None:
    """Refuse (`option-invalid`) the label of a mask that is not given."""
    labels = (
        ("--roi-label", request.recipe.roi_label, "--roi", request.roi),
        ("--bone-label", request.recipe.bone_label, "--bone-mask", request.bone_mask),
    )
    for option, label, of, mask in labels:
        if label is not None and mask is None:
            raise ConfigError("option-invalid", f"{option} is of a mask", expected=f"{of} MASK with it")


def _say(image: Path, found: Flat) -> None:
    """Say on standard error what was corrected or is doubtful, and why there is no value."""
    name, status = printable(image.name), str(found["status"])
    said = [note for note in str(found["notes"] or "").split(BETWEEN) if note]
    if status != "ok":
        said.append(f"{WORDS[status]} (status {status})")
    for text in said:
        sys.stderr.write(f"srrd: {name}: {text}\n")


def _code_of(extra: Callable[[], None]) -> int:
    """Return the exit code of something that is made beside the numbers, after saying what stopped it."""
    try:
        extra()
    except Exception as error:  # the numbers are out already: a picture that fails does not take them back
        refusal = to_own_error(error)
        sys.stderr.write(f"srrd: {refusal}\n")
        return exit_code(refusal)
    return 0


def _folder(request: Request, make_executor: Callable[[ClusterConfig], Executor]) -> int:
    if request.out is None or not is_table(request.out) or _for_one(request):
        raise ConfigError(
            "option-invalid",
            "a folder of volumes becomes a table",
            where=request.image.name,
            expected="--out results.parquet or results.csv, and neither --maps, --picture nor --blocks",
        )
    executor = make_executor(ClusterConfig(cpus=request.cpus))
    rows = measure_folder(
        request.image,
        request.out,
        request.recipe,
        roi=request.roi,
        bone_mask=request.bone_mask,
        executor=executor,
    )
    bad = [row for row in rows if row["status"] != "ok"]
    log.info("measure: %d volumes in %s, %d of them without values", len(rows), request.out.name, len(bad))
    return 1 if bad else 0


def _for_one(request: Request) -> bool:
    return request.maps is not None or request.picture is not None or bool(request.blocks)


def _wants_blocks(request: Request) -> bool:
    """Return whether to measure in blocks.

    Raises
    ------
    ConfigError
        `blocks-invalid`, `blocks-need-zarr`, `blocks-need-out`, `option-invalid`.
    """
    zarr = request.image.is_dir() and is_group(request.image)
    remote = isinstance(request.image, ObjectPath)
    if request.blocks < 0 or request.blocks % BOX:
        raise ConfigError("blocks-invalid", f"a block is a multiple of {BOX} voxels", got=str(request.blocks))
    if request.blocks and not zarr:
        raise ConfigError("blocks-need-zarr", "only OME-Zarr can be read in blocks", where=request.image.name)
    wanted = bool(request.blocks) or (zarr and not remote and open_image(request.image)[0].size > LARGE)
    if wanted and request.roi is not None and not (request.roi.is_dir() and is_group(request.roi)):
        raise ConfigError(
            "blocks-need-zarr", "in blocks the region is an OME-Zarr too", where=request.roi.name
        )
    if wanted:
        _require_for_blocks(request)
    if wanted and request.out is None and request.maps is None:
        raise ConfigError(
            "blocks-need-out",
            "measuring in blocks needs a folder for its intermediate files",
            expected="--out or --maps",
        )
    return wanted


def _require_for_blocks(request: Request) -> None:
    """Refuse (`option-invalid`) what is only known of a volume in one piece, with what to do instead."""
    recipe = request.recipe
    paths = (request.image, request.roi, request.out, request.maps)
    if any(isinstance(path, ObjectPath) for path in paths):
        raise ConfigError(
            "option-invalid",
            "blocks are read and written on a file system",
            where=request.image.name,
            todo=(
                "Copy the volume to storage that all nodes mount, or leave --blocks out: it is then fetched "
                "whole."
            ),
        )
    if recipe.surface != "voxel":
        raise ConfigError(
            "option-invalid",
            "in blocks only the surface of voxels is known",
            got=f"--surface {recipe.surface}",
            todo=(
                "Cut the region out and measure it in one piece (some 300 bytes a voxel), or use --surface "
                "voxel."
            ),
        )
    if recipe.kind != "bone" or recipe.bone is not None or request.bone_mask is not None:
        raise ConfigError(
            "option-invalid",
            "MR, CT and the plate are measured in one piece",
            where=request.image.name,
            todo="Leave --blocks out, or crop the image to one joint.",
        )


def _in_one_piece(request: Request) -> Made:
    found = measure_with_maps(request.image, request.recipe, roi=request.roi, bone_mask=request.bone_mask)
    extras: list[Callable[[], None]] = []
    if request.maps is not None:
        extras.append(partial(write_maps, request.maps, found))
    if request.picture is not None:
        extras.append(partial(_draw, request.picture, printable(request.image.name), found))
    return found.flat, extras


def _draw(path: Path, title: str, found: MeasuredImage) -> None:
    bone_picture.write_picture(path, bone_picture.picture_from_maps(title, found.maps))


def _in_blocks(request: Request, make_executor: Callable[[ClusterConfig], Executor]) -> Made:
    hidden = request.out.with_name(f".{request.out.name}.blocks") if request.out is not None else None
    root = request.maps or hidden
    assert root is not None  # `_wants_blocks` refuses neither of the two
    found = measure_volume(
        request.image,
        root,
        recipe=request.recipe,
        roi=request.roi,
        edge=request.blocks or EDGE,
        executor=make_executor(ClusterConfig(cpus=request.cpus, knee_memory_mb=BLOCK_MB)),
    )
    extras: list[Callable[[], None]] = []
    if request.picture is not None:
        extras.append(partial(_draw_stored, request.picture, printable(request.image.name), found))
    extras += [partial(shutil.rmtree, root)] if request.maps is None else [partial(_keep_maps, found, root)]
    return flatten(found.measures, found.binarization, found.notes), extras


def _draw_stored(path: Path, title: str, found: Measured) -> None:
    spacing = found.measures.spacing_mm
    picture = bone_picture.picture_from_stores(title, found.maps, spacing, found.tallies)
    bone_picture.write_picture(path, picture)


def _keep_maps(found: Measured, root: Path) -> None:
    write_nrrds(found)
    clean(root)


def _write(request: Request, out: Path, measures: Flat) -> None:
    if not is_table(out):
        write_text(out, to_text(measures))
        return
    roi, mask = request.roi, request.bone_mask
    settings = request.recipe.settings(roi=roi is not None, bone_mask=mask is not None)
    write_rows(out, [make_row(request.image.name, settings, measures)])
