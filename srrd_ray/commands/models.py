"""Commands about a trained model: show what it is, verify its files, lay it out for others."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from srrd_ray.storage.paths import parse_path


def show(model: tyro.conf.Positional[Path], /, *, json: bool = False) -> int:
    """Print what a model is: its data, figures with intervals, limits, licence, files. No weights are opened.

    Args:
        model: RUN/models/distilled of a run, an exported model, or the folder of a segmenter.
        json: print all of it as JSON.
    """
    from srrd_ray.core import serial
    from srrd_ray.core.model_card import words
    from srrd_ray.sharing.folder import facts_of

    facts = facts_of(parse_path(model))
    sys.stdout.write(serial.to_json(facts) if json else words(facts))
    return 0


def verify(model: tyro.conf.Positional[Path], /, *, onnx: bool = True) -> int:
    """Check every file of a model: checksums, schema, weights, ONNX against torch; a line each.

    Ends with 0 where all is as it should be, with 1 where something is not, and says what to do. Nothing is
    unpickled.

    Args:
        model: RUN/models/distilled of a run, an exported model, or the folder of a segmenter.
        onnx: also compare ONNX files, where there are any, with torch.
    """
    from srrd_ray.sharing.verify import verify as verify_files

    checks = []
    for check in verify_files(parse_path(model), onnx=onnx):
        sys.stdout.write(f"{check.status:<5} {check.name:<24} {check.told}\n")
        checks.append(check)
    return 1 if any(check.status == "FAIL" for check in checks) else 0


def export(
    model: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    /,
    *,
    onnx: bool = False,
    monai_bundle: bool = False,
    licence: str = "",
) -> int:
    """Lay a model out for others: weights, card, figures, README.md and SHA256SUMS in one folder.

    `srrd infer` and `srrd model verify` take that folder as it is.

    Args:
        model: RUN/models/distilled of a run, or the folder of a segmenter.
        out: folder of the exported model, which is not there yet.
        onnx: also write ONNX files, each compared with torch; needs pip install 'srrd-ray[onnx]'.
        monai_bundle: also write a MONAI bundle, monai/, with its weights as safetensors.
        licence: SPDX identifier of the weights' licence; absent, that of the card.
    """
    from srrd_ray.sharing.export import ExportRequest, export_model

    request = ExportRequest(
        model=parse_path(model), out=parse_path(out), onnx=onnx, bundle=monai_bundle, licence=licence
    )
    sys.stdout.write(f"{export_model(request)}\n")
    return 0
