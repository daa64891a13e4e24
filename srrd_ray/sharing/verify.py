"""Every file of a model: checksums, schema, weights, ONNX. Nothing is unpickled, nothing written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from srrd_ray.core.errors import SrrdError, StoreError
from srrd_ray.core.one_line import printable
from srrd_ray.knee_bones import segmenter_files, segmenter_model
from srrd_ray.sharing.folder import README, SUMS, kind_of
from srrd_ray.sharing.onnx_files import (
    Exported,
    compare,
    regressor_export,
    require_onnx,
    segmenter_export,
)
from srrd_ray.stages.shared import models
from srrd_ray.stages.shared.expected import EXPECTED
from srrd_ray.stages.shared.model_figures import DIAGNOSIS, METRICS
from srrd_ray.stages.shared.precision import PRECISION, read_precision
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.record_files import read_record


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCheck:
    """What was found of one file of a model."""

    status: Literal["OK", "NOTE", "FAIL"]
    name: str
    told: str


def verify(folder: Path, *, onnx: bool = True) -> Iterator[FileCheck]:
    """Yield what is found of each file of a model.

    Raises
    ------
    ConfigError
        `model-missing`, `model-kind`; `onnx-absent` where there is an ONNX file, and nothing to run it.
    """
    kind = kind_of(folder)
    if onnx and any(folder.glob("*.onnx")):
        require_onnx()
    known = {README, SUMS, METRICS, DIAGNOSIS, EXPECTED}
    checks = _segmenter(folder, onnx) if kind == "segmenter" else _regressor(folder, onnx)
    for name, check in [*checks, *_sums(folder)]:
        known.add(name)
        yield _checked(name, check)
    for path in sorted(folder.iterdir()):
        if path.name not in known and path.is_file():
            told = "left out" if path.suffix == ".onnx" and not onnx else "not of the model: not opened"
            yield FileCheck(status="NOTE", name=printable(path.name), told=told)


Checks = Iterator[tuple[str, Callable[[], str]]]


def _regressor(folder: Path, onnx: bool) -> Checks:
    yield models.CARD, lambda: f"obeys {models.read_card(folder).schema}"
    try:
        card = models.read_card(folder)
    except SrrdError:  # told by the check of the card
        return
    if (folder / PRECISION).is_file():
        yield PRECISION, partial(_precision, folder)
    for one in card.folds:
        name = Path(one.file).name
        yield name, partial(_weights, folder, card, one)
        path = (folder / name).with_suffix(".onnx")
        if onnx and path.is_file():
            yield path.name, partial(_same, path, partial(_exported_fold, folder, card, one))


def _precision(folder: Path) -> str:
    read_precision(folder)
    return "obeys its schema; of the weights of model.json"


def _exported_fold(folder: Path, card: models.ModelCard, one: models.FoldCard) -> Exported:
    return regressor_export(models.load_fold(folder, card, one))


def _weights(folder: Path, card: models.ModelCard, one: models.FoldCard) -> str:
    network = models.load_fold(folder, card, one)
    return f"as model.json names it; {sum(value.numel() for value in network.parameters())} weights load"


def _segmenter(folder: Path, onnx: bool) -> Checks:
    yield segmenter_files.CARD, partial(_segmenter_card, folder)
    yield segmenter_files.WEIGHTS, partial(_segmenter_weights, folder)
    path = (folder / segmenter_files.WEIGHTS).with_suffix(".onnx")
    if onnx and path.is_file():
        yield (
            path.name,
            partial(_same, path, lambda: segmenter_export(segmenter_model.load_segmenter(folder)[0])),
        )


def _segmenter_card(folder: Path) -> str:
    read_record(segmenter_model.SegmenterCard, folder / segmenter_files.CARD, "segmenter")
    return "obeys its schema"


def _segmenter_weights(folder: Path) -> str:
    network, _ = segmenter_model.load_segmenter(folder)
    return f"as segmenter.json names it; {sum(value.numel() for value in network.parameters())} weights load"


def _same(path: Path, exported: Callable[[], Exported]) -> str:
    return f"equals torch: largest difference {compare(path, exported(), path.name):.0e} of the range"


def _sums(folder: Path) -> Checks:
    path = folder / SUMS
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            digest, _, name = line.partition("  ")
            if name and not name.startswith("/") and ".." not in Path(name).parts:
                yield name, partial(_hash_is, folder / name, digest)


def _hash_is(path: Path, digest: str) -> str:
    if not path.is_file() or hash_file(path) != digest:
        raise StoreError(
            "model-altered", "a file is missing or not the one of SHA256SUMS", where=path.name,
            todo="Copy the whole folder again.",
        )  # fmt: skip
    return "as SHA256SUMS names it"


def _checked(name: str, check: Callable[[], str]) -> FileCheck:
    try:
        return FileCheck(status="OK", name=printable(name), told=check())
    except SrrdError as error:
        return FileCheck(status="FAIL", name=printable(name), told=str(error))
