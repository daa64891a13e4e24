"""Networks as ONNX, beside their weights, and the comparison of both; needs the extra `onnx`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.distillation.augmentation import FLIPS, mirror
from srrd_ray.distillation.bins import bin_edges, mean_and_sd
from srrd_ray.distillation.networks import PatchRegressor
from srrd_ray.patches.sampling import CT_SHAPE, MR_SHAPE
from srrd_ray.storage.atomic import replacing

NEEDED: Final = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE: Final = 1e-4
"""Largest difference between ONNX and torch, as a share of the range of the output."""
TILE: Final = (64, 64, 64)
"""Voxels of the segmenter's input: a sliding window of this size covers an image."""
Arrays = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exported:
    """A network as it is exported: what it is given and what it answers, in numbers.

    Parameters
    ----------
    inputs, outputs
        Names. The first axis of the inputs is free where `batched`.
    example
        Inputs with which ONNX and torch are compared; they are always the same.
    ranges
        Of each output: what a difference is a share of.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: tuple[Tensor, ...]
    ranges: tuple[Tensor, ...]
    batched: bool


class CubeReader(nn.Module):
    """What `distillation.inference.predict` computes: mean and SD over the four mirror images of cubes."""

    def __init__(self, network: PatchRegressor) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and SDs (n, parameter) of cubes (n, 1, z, y, x) and their masks of bone."""
        shown = [self.network(mirror(image, k), mirror(mask, k)).logits for k in range(len(FLIPS))]
        return mean_and_sd(torch.stack(shown).softmax(dim=-1).mean(dim=0))


def regressor_export(network: PatchRegressor) -> Exported:
    """Return a teacher or student as it is exported: cubes and masks in, means and SDs out."""
    reads_ct = network.config.input == "ct"
    shape = (3, 1, *(CT_SHAPE if reads_ct else MR_SHAPE))
    rng = np.random.default_rng(0)
    image = rng.normal(float(network.input_mean), float(network.input_sd), shape).astype(np.float32)
    mask = (rng.random(shape) < 0.8).astype(np.float32)
    edges = bin_edges()
    span = edges[:, -1] - edges[:, 0]
    return Exported(
        module=CubeReader(network).eval(),
        inputs=("image", "mask"),
        outputs=("parameter_means", "parameter_sds"),
        example=(torch.from_numpy(image), torch.from_numpy(mask)),
        ranges=(span, span),
        batched=True,
    )


def segmenter_export(network: nn.Module) -> Exported:
    """Return the segmenter as it is exported: a tile of grey values 0…1 in, logits of the classes out."""
    rng = np.random.default_rng(0)
    tile = torch.from_numpy(rng.random((1, 1, *TILE)).astype(np.float32))
    with torch.inference_mode():
        logits = network(tile)
    return Exported(
        module=network.eval(),
        inputs=("image",),
        outputs=("logits",),
        example=(tile,),
        ranges=((logits.max() - logits.min()).clone(),),
        batched=False,
    )


def require_onnx() -> None:
    """Refuse where the extra is not installed.

    Raises
    ------
    ConfigError
        `onnx-absent`.
    """
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise ConfigError(
            "onnx-absent", "ONNX is not installed", got=f"without {', '.join(absent)}",
            todo="pip install 'srrd-ray[onnx]'; srrd model verify --no-onnx leaves ONNX files out.",
        )  # fmt: skip


def write_onnx(path: Path, exported: Exported) -> float:
    """Return the largest difference to torch of the ONNX file that is written to `path`.

    Raises
    ------
    ConfigError
        `onnx-absent`.
    StoreError
        `onnx-differs`: then no file is left.
    """
    require_onnx()
    with replacing(path) as temporary, _quiet():
        torch.onnx.export(
            _program(exported),
            f=str(temporary),
            dynamo=True,
            input_names=exported.inputs,
            output_names=exported.outputs,
            external_data=False,
            verbose=False,
        )
        difference = compare(temporary, exported, path.name)
    return difference


@contextmanager
def _quiet() -> Iterator[None]:
    """Switch off what the exporter says of its own parts: nobody can act on it; the numbers are compared."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _program(exported: Exported) -> torch.export.ExportedProgram:
    """Return a network as a graph of operations that ONNX has: it has no adaptive pooling in 3D."""
    free = ({0: torch.export.Dim("n")},) * len(exported.inputs) if exported.batched else None
    program: torch.export.ExportedProgram = torch.export.export(
        exported.module, exported.example, dynamic_shapes=free, strict=False
    )
    aten = torch.ops.aten
    pools = (aten.adaptive_avg_pool3d.default, aten._adaptive_avg_pool3d.default)
    decomposed: torch.export.ExportedProgram = program.run_decompositions(dict.fromkeys(pools, _pool))
    return decomposed


def _pool(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return means over equal blocks, which is adaptive pooling where the sides divide."""
    sides = x.shape[2:]
    if any(side % count for side, count in zip(sides, size, strict=True)):
        raise ValueError(f"{tuple(sides)} is not divided by {tuple(size)}")
    return F.avg_pool3d(x, [side // count for side, count in zip(sides, size, strict=True)])


def compare(path: Path, exported: Exported, name: str) -> float:
    """Return the largest difference between an ONNX file and torch, as a share of the outputs' ranges.

    Raises
    ------
    StoreError
        `onnx-unreadable`; `onnx-differs` above `TOLERANCE`.
    """
    with torch.inference_mode():
        found = exported.module(*exported.example)
    expected = found if isinstance(found, tuple) else (found,)
    answers = _run(path, exported, name)
    shares = [
        (torch.from_numpy(answer) - of_torch).abs().div(span).max()
        for answer, of_torch, span in zip(answers, expected, exported.ranges, strict=True)
    ]
    worst = float(torch.stack(shares).max())
    if not worst <= TOLERANCE:
        raise StoreError(
            "onnx-differs", "ONNX and torch give other numbers", where=name,
            got=f"a difference of {worst:.1e} of the range", expected=f"{TOLERANCE:.0e} or less",
            todo="Export the model again: srrd model export --onnx.",
        )  # fmt: skip
    return worst


def _run(path: Path, exported: Exported, name: str) -> Arrays:
    import onnxruntime

    given = {key: value.numpy() for key, value in zip(exported.inputs, exported.example, strict=True)}
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        answers: Arrays = tuple(session.run(list(exported.outputs), given))
    except Exception as error:  # its errors share no class of their own
        raise StoreError(
            "onnx-unreadable", "not a readable ONNX file of this model", where=name,
            got=type(error).__name__, todo="Export the model again: srrd model export --onnx.",
        ) from error  # fmt: skip
    return answers
