"""What lies beside a model, in a run or a folder that is shared: the figures of its run, its classifier."""

from __future__ import annotations

import json
from pathlib import Path

from srrd_ray.core.json_tree import Json
from srrd_ray.stages.shared.models import CARD
from srrd_ray.storage.layout import RunLayout

METRICS, DIAGNOSIS = "metrics.json", "diagnosis.json"
"""Their names in the folder of a model that is shared."""


def metrics_of(model: Path) -> Path:
    """Return where the figures of a model would be: in its folder, else in its run."""
    shared = model / METRICS
    return shared if shared.is_file() else RunLayout(root=model.parent.parent).metrics


def diagnosis_of(model: Path) -> Path:
    """Return where the classifier of a model would be: in its folder, else beside it in its run."""
    shared = model / DIAGNOSIS
    return shared if shared.is_file() else model.parent / "diagnosis" / CARD


def read_metrics(model: Path) -> Json:
    """Return the figures of a model; empty where there are none."""
    path = metrics_of(model)
    if not path.is_file():
        return {}
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found
