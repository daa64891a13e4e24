"""A model laid out for others in one folder: weights, card, figures, checksums; ONNX and MONAI bundle."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.model_card import ModelFacts, readme
from srrd_ray.knee_bones import segmenter_files, segmenter_model
from srrd_ray.sharing import monai_bundle
from srrd_ray.sharing.folder import README, SUMS, facts_of, kind_of
from srrd_ray.sharing.onnx_files import regressor_export, require_onnx, segmenter_export, write_onnx
from srrd_ray.stages.shared import models
from srrd_ray.stages.shared.expected import EXPECTED, expected_beside
from srrd_ray.stages.shared.model_figures import DIAGNOSIS, METRICS, diagnosis_of, metrics_of
from srrd_ray.stages.shared.precision import PRECISION
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.paths import local_copy

BUNDLE = "monai"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """A model and what is made of it.

    Parameters
    ----------
    out
        Folder that is not there yet.
    onnx, bundle
        Whether ONNX files and a MONAI bundle (``monai/``) are added.
    licence
        SPDX identifier; empty takes that of the card.
    """

    model: Path
    out: Path
    onnx: bool = False
    bundle: bool = False
    licence: str = ""


def export_model(request: ExportRequest) -> Path:
    """Return the folder of the exported model, whole or not at all.

    Raises
    ------
    ConfigError
        `model-missing`, `model-kind`, `onnx-absent`, `licence-invalid`; `output-exists`.
    StoreError
        As the weights are read; `onnx-differs`.
    """
    facts = facts_of(request.model)
    facts = replace(facts, licence=request.licence or facts.licence)
    if request.onnx:
        require_onnx()
    if request.out.exists():
        raise ConfigError(
            "output-exists", "the folder is there already", where=request.out.name,
            todo="Name a new folder, or remove this one.",
        )  # fmt: skip
    with replacing(request.out) as temporary:
        temporary.mkdir(parents=True)
        _write(request, temporary, facts)
        _write_sums(temporary)
    return request.out


def _write(request: ExportRequest, out: Path, facts: ModelFacts) -> None:
    (out / README).write_text(readme(facts), encoding="utf-8")
    match kind_of(request.model):
        case "regressor":
            _write_regressor(request, out, facts)
        case "segmenter":
            _write_segmenter(request, out, facts)


def _write_regressor(request: ExportRequest, out: Path, facts: ModelFacts) -> None:
    model = models.load_model(request.model)
    for name in (models.CARD, *(Path(one.file).name for one in model.card.folds)):
        _copy(request.model / name, out / name)
    beside = {
        METRICS: metrics_of(request.model),
        DIAGNOSIS: diagnosis_of(request.model),
        EXPECTED: expected_beside(request.model),
        PRECISION: request.model / PRECISION,
    }
    for name, source in beside.items():
        if source.is_file():
            _copy(source, out / name)
    if request.onnx:
        for one in model.card.folds:
            name = Path(one.file).with_suffix(".onnx").name
            write_onnx(out / name, regressor_export(model.networks[one.fold]))
    if request.bundle:
        monai_bundle.write_regressor(out / BUNDLE, model, facts)


def _write_segmenter(request: ExportRequest, out: Path, facts: ModelFacts) -> None:
    network, config = segmenter_model.load_segmenter(request.model)
    for name in (segmenter_files.CARD, segmenter_files.WEIGHTS):
        _copy(request.model / name, out / name)
    if request.onnx:
        name = Path(segmenter_files.WEIGHTS).with_suffix(".onnx").name
        write_onnx(out / name, segmenter_export(network))
    if request.bundle:
        monai_bundle.write_segmenter(out / BUNDLE, network, config, facts)


def _copy(source: Path, target: Path) -> None:
    with local_copy(source) as here:
        shutil.copyfile(here, target)


def _write_sums(out: Path) -> None:
    """Write the checksums of all files as ``sha256sum --check`` reads them."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    lines = [f"{hash_file(path)}  {path.relative_to(out).as_posix()}" for path in files]
    (out / SUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")
