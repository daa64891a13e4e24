from __future__ import annotations

import torch

from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.features import LEVELS, AnatomicalFeatures, feature_distance
from srrd_ray.segmentation.network import build_network

CONFIG = SegmenterConfig(widths=(4, 4, 4, 4, 4))


def test_features_follow_the_image_and_the_network_does_not_learn() -> None:
    features = AnatomicalFeatures(build_network(CONFIG, 1), 2.0)
    hu = torch.rand(1, 1, 32, 32, 24, generator=torch.Generator().manual_seed(0)) * 800
    seen = features(hu, (0.75, 0.75, 1.5))
    assert [f.shape[2:] for f in seen] == [(12, 12, 16), (6, 6, 8), (3, 3, 4)]
    assert len(seen) == LEVELS
    assert float(feature_distance(seen, seen)) == 0.0
    other = hu.clone().requires_grad_()
    distance = feature_distance(features(other * 0.5, (0.75, 0.75, 1.5)), seen)
    distance.backward()
    assert float(distance.detach()) > 0.0
    assert other.grad is not None
    assert float(other.grad.abs().sum()) > 0.0
    assert all(p.grad is None for p in features.parameters())
