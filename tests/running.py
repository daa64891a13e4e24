"""Runs as the command line starts them, for tests that look at what a run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.manifest import Manifest, read_manifest
from srrd_ray.pipeline.manifest_writer import ManifestWriter
from srrd_ray.pipeline.run import RunRequest
from srrd_ray.pipeline.run import run as run_pipeline
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.storage.layout import RunLayout

STAGE_NAMES = tuple(stage.name for stage in STAGES)


def run(cohort: Path, out: Path, config: Path | None = None, **options: Any) -> int:
    """Return the exit code of a run on the test's Ray."""
    return run_pipeline(RunRequest(cohort=cohort, out=out, config=config, **options), RayExecutor)


def manifest_of(root: Path) -> Manifest:
    """Return the manifest of a run."""
    found = read_manifest(RunLayout(root=root))
    assert found is not None
    return found


def writer(root: Path, config: RunConfig | None = None, **options: Any) -> ManifestWriter:
    """Return the writer of the manifest of a run over some cohort."""
    settings: dict[str, Any] = {"cohort": "ab" * 32, "stages": STAGES, "config": config or RunConfig()}
    return ManifestWriter(layout=RunLayout(root=root), **settings | options)
