"""A model as a MONAI bundle: its network and its steps as configuration, its weights as safetensors.

Bundles commonly hold a pickled ``model.pt``; these hold none. The configuration is for MONAI to evaluate:
nothing of ours reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeAlias

from monai.networks.nets import DynUNet
from torch import nn

from srrd_ray import __version__
from srrd_ray.core.model_card import RESEARCH, ModelFacts, readme
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.config import NetworkConfig
from srrd_ray.patches.sampling import CT_SHAPE, MR_SHAPE
from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.grey_values import WINDOW_HU
from srrd_ray.segmentation.inference import OVERLAP
from srrd_ray.sharing.onnx_files import TILE
from srrd_ray.stages.shared.models import Model
from srrd_ray.storage.weights import save_tensors

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
SCHEMA: Final = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
DEVICE: Final = "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')"


def write_segmenter(folder: Path, network: nn.Module, config: SegmenterConfig, facts: ModelFacts) -> None:
    """Write the bundle of the segmenter: ``image`` (a CT in HU) in, labels on its grid in ``output_dir``."""
    save_tensors(folder / "models" / "model.safetensors", network.state_dict(), {"network": "segmenter"})
    image: Json = {
        **_tensor(1, TILE, "image", "hounsfield"), "modality": "CT", "value_range": [0, 1],
        "is_patch_data": True,
    }  # fmt: skip
    labels: dict[str, Json] = {**_tensor(len(CLASSES), TILE, "image", "segmentation"), "value_range": [0, 1]}
    names: Json = {str(index): name for index, name in enumerate(CLASSES)}
    metadata = _metadata(facts, "Bones of the knee in CT", image, {**labels, "channel_def": names})
    _write(folder, facts, metadata, _segmenter_steps(config))


def write_regressor(folder: Path, model: Model, facts: ModelFacts) -> None:
    """Write the bundle of a teacher or student: cubes and masks (``.npy``) in, a fold's means and SDs out."""
    for one in model.card.folds:
        path = folder / "models" / f"fold-{one.fold}.safetensors"
        save_tensors(path, model.networks[one.fold].state_dict(), {"network": model.card.name})
    network = model.card.network_of(model.card.folds[0])
    shape = CT_SHAPE if network.input == "ct" else MR_SHAPE
    image: Json = {**_tensor(1, shape, "image", "hounsfield"), "modality": network.input.upper()}
    names: Json = {str(index): symbol for index, symbol in enumerate(PARAMETERS)}
    output: Json = {**_tensor(len(PARAMETERS), (), "tuples", "probabilities"), "channel_def": names}
    metadata = _metadata(facts, "Trabecular bone in cubes of the knee", image, output)
    needed: Json = {**_versions(), "srrd-ray": __version__}
    _write(
        folder,
        facts,
        {**metadata, "required_packages_version": needed},
        _regressor_steps(network, model.card.folds[0].fold),
    )


def _segmenter_steps(config: SegmenterConfig) -> Mapping[str, Json]:
    low, high = WINDOW_HU
    levels = len(config.widths)
    return {
        "imports": ["$from safetensors.torch import load_file", "$import torch"],
        "bundle_root": ".",
        "image": "knee_ct.nii.gz",
        "output_dir": "$@bundle_root + '/eval'",
        "device": DEVICE,
        "network_def": {
            "_target_": DynUNet.__name__,
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": len(CLASSES),
            "kernel_size": [3] * levels,
            "strides": [1] + [2] * (levels - 1),
            "upsample_kernel_size": [2] * (levels - 1),
            "filters": list(config.widths),
            "norm_name": ["INSTANCE", {"affine": True}],
            "act_name": ["leakyrelu", {"inplace": True, "negative_slope": 0.01}],
        },
        "weights": "$load_file(@bundle_root + '/models/model.safetensors')",
        "network": "$(@network_def.load_state_dict(@weights), @network_def.to(@device).eval())[1]",
        "preprocessing": _compose(
            {"_target_": "LoadImaged", "keys": "image", "image_only": True},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "SPL"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [config.spacing_mm] * 3, "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged", "keys": "image", "a_min": low, "a_max": high,
                "b_min": 0.0, "b_max": 1.0, "clip": True,
            },
        ),
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": list(TILE), "overlap": OVERLAP,
            "mode": "gaussian",
        },
        "postprocessing": _compose(
            {
                "_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
                "nearest_interp": False, "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir",
                "output_postfix": "bones",
            },
        ),
        "data": "$@preprocessing({'image': @image})",
        "pred": "$@inferer(@data['image'][None].to(@device), @network)[0].cpu()",
        "run": ["$@postprocessing({**@data, 'pred': @pred})"],
    }  # fmt: skip


def _regressor_steps(network: NetworkConfig, fold: int) -> Mapping[str, Json]:
    return {
        "imports": [
            "$import numpy",
            "$from safetensors.torch import load_file",
            "$from srrd_ray.distillation.inference import predict",
        ],
        "bundle_root": ".",
        "fold": fold,
        "images": "images.npy",
        "masks": "masks.npy",
        "network_def": {
            "_target_": "srrd_ray.distillation.networks.build",
            "config": {
                "_target_": "srrd_ray.distillation.config.NetworkConfig",
                "input": network.input,
                "architecture": network.architecture,
                "width": network.width,
                "blocks": network.blocks,
                "groups": network.groups,
            },
            "seed": 0,
        },
        "weights": "$load_file(@bundle_root + '/models/fold-' + str(@fold) + '.safetensors')",
        "network": "$(@network_def.load_state_dict(@weights), @network_def.eval())[1]",
        "means_and_sds": ("$predict(@network, numpy.load(@images), numpy.load(@masks))"),
        "run": ["$numpy.save(@bundle_root + '/means_and_sds.npy', numpy.stack(@means_and_sds))"],
    }


def _compose(*steps: Json) -> Json:
    return {"_target_": "Compose", "transforms": list(steps)}


def _tensor(channels: int, shape: tuple[int, ...], kind: str, unit: str) -> dict[str, Json]:
    return {
        "type": kind, "format": unit, "num_channels": channels, "spatial_shape": list(shape),
        "dtype": "float32", "value_range": [], "is_patch_data": False, "channel_def": {"0": "image"},
    }  # fmt: skip


def _versions() -> dict[str, Json]:
    return {name: version(name) for name in ("safetensors", "nibabel")}


def _metadata(facts: ModelFacts, task: str, image: Json, output: Json) -> dict[str, Json]:
    return {
        "schema": SCHEMA,
        "version": __version__,
        "changelog": {__version__: "exported by srrd model export"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": _versions(),
        "name": facts.name,
        "task": task,
        "description": facts.use,
        "authors": "SRRD-Ray",
        "copyright": facts.licence or "not stated",
        "data_source": " ".join(facts.data),
        "intended_use": RESEARCH,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": output}},
    }


def _write(folder: Path, facts: ModelFacts, metadata: Mapping[str, Json], steps: Mapping[str, Json]) -> None:
    for place, content in (("metadata", metadata), ("inference", steps)):
        path = folder / "configs" / f"{place}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    about = folder / "docs" / "README.md"
    about.parent.mkdir(parents=True, exist_ok=True)
    about.write_text(readme(facts), encoding="utf-8")
