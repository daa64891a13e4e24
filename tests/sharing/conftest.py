"""A student with figures of its run, and a segmenter: untrained, as a run and a training leave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from srrd_ray.distillation.config import DistillationConfig, HyperParameters
from srrd_ray.distillation.fingerprint import NAMES, Fingerprint
from srrd_ray.distillation.networks import PatchRegressor, build
from srrd_ray.knee_bones.segmenter_model import save_segmenter
from srrd_ray.stages.shared.models import StoredFold, store_model
from tests.knee_bones.test_segmenter_model import SMALL, trained

METRICS = {
    "cohort": {"simulated": True, "patients": 9, "knees": 10, "learnt_from": 6},
    "regression": {
        "distilled": {
            "BV/TV": {"icc": 0.5, "icc_ci": [0.25, 0.75]},
            "Tb.Th": {"icc": None, "icc_ci": None, "reason": "too few"},
        }
    },
    "diagnosis": {"distilled": {"auc": 0.8, "auc_ci": [0.6, 0.9]}},
}


@pytest.fixture
def student(tmp_path: Path) -> Path:
    config = DistillationConfig()
    count = len(NAMES)
    fingerprint = Fingerprint(names=NAMES, mean=(0.0,) * count, sd=(1.0,) * count, cubes=9)
    folds = [
        StoredFold(
            fold=fold, network=_network(fold), hyper=HyperParameters(), fingerprint=fingerprint, patients=6
        )
        for fold in range(2)
    ]
    (tmp_path / "run" / "models").mkdir(parents=True)
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(METRICS))
    return store_model(tmp_path / "run" / "models" / "distilled", "distilled", config, folds)


def _network(seed: int) -> PatchRegressor:
    """Return a student whose head is not that of the start, which would answer the same to every cube."""
    network = build(DistillationConfig().student, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.input_mean.fill_(300.0)
        network.input_sd.fill_(250.0)
        for layer in (network.head.centre, network.head.residue):
            layer.weight.copy_(0.1 * torch.randn(layer.weight.shape, generator=generator))
    return network


@pytest.fixture
def segmenter(tmp_path: Path) -> Path:
    return save_segmenter(trained(tmp_path), tmp_path / "segmenter", SMALL, {"knees": "2 of cohort-v2"})
