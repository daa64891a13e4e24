"""The summary printed at the end of a run.

It has outcomes by stage, headline figures, what failed, and where the report is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from srrd_ray.core.bones import BONES
from srrd_ray.core.headline import REFERENCES, judged_by
from srrd_ray.core.json_tree import Json, at
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import RUN_MODELS, STATUSES, RunModel
from srrd_ray.pipeline.current import outputs_of_run
from srrd_ray.pipeline.manifest_writer import ManifestWriter
from srrd_ray.storage.layout import RunLayout


def summary(manifest: ManifestWriter) -> str:
    """Return the closing text of a run."""
    lines = [
        *_stages(manifest),
        "",
        *_figures(outputs_of_run(manifest.layout, manifest.times, manifest.stages)),
        *_failed(manifest),
        "",
        f"report: {manifest.layout.report if manifest.layout.report.is_file() else 'not written'}",
    ]
    return "\n".join(lines) + "\n"


def _stages(manifest: ManifestWriter) -> Iterator[str]:
    yield _columns("stage", "done", "skipped", "failed", "lost bones", "seconds")
    for stage in manifest.times:
        outcomes = [o for o in manifest.outcomes if o.stage == stage.stage]
        statuses = [o.status for o in outcomes if not o.lost_bone]
        done, skipped, bad = (statuses.count(status) for status in STATUSES)
        bones = len(outcomes) - len(statuses)
        yield _columns(stage.stage, done, skipped, bad, bones, f"{stage.seconds:.1f}")
    failed, seconds = manifest.failed(), sum(stage.seconds for stage in manifest.times)
    bones = sum(outcome.lost_bone for outcome in failed)
    yield _columns("all", "", "", len(failed) - bones, bones, f"{seconds:.1f}")


def _columns(stage: str, *cells: object) -> str:
    widths = (6, 8, 7, 11, 8)
    return f"{stage:<16}" + "".join(f" {cell!s:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _figures(layout: RunLayout) -> Iterator[str]:
    if not layout.opens("metrics.json") or not layout.metrics.is_file():
        yield "figures: none, the run did not come so far"
        return
    metrics: Mapping[str, Json] = json.loads(layout.metrics.read_text(encoding="utf-8"))
    for bone in BONES:
        error = _number(metrics, f"registration/tre_mm/{bone}/median")
        yield f"registration error, {bone}: {error} mm (median)"
    key = judged_by(metrics)
    for model in _present(metrics, key):
        values = [f"{p} {_number(metrics, f'{key}/{model}/{p}/icc')}" for p in map(_path_safe, PARAMETERS)]
        yield f"ICC(A,1) with {REFERENCES[key]}, {model}: " + ", ".join(
            value.replace("|", "/") for value in values
        )
    for model in ("distilled", "baseline"):
        yield f"AUC of osteoarthritis, {model}: {_number(metrics, f'diagnosis/{model}/auc')}"


def _present(metrics: Mapping[str, Json], key: str) -> tuple[RunModel, ...]:
    """Return the models with figures, the school's reader of CT where it took part."""
    return tuple(model for model in RUN_MODELS if at(metrics, key, model) is not None)


def _path_safe(name: str) -> str:
    return name.replace("/", "|")


def _number(metrics: object, path: str) -> str:
    """Return a figure of `metrics.json` by its slash-separated keys (``|`` escapes a slash in a key)."""
    found = metrics
    for key in path.split("/"):
        found = found.get(key.replace("|", "/")) if isinstance(found, Mapping) else None
    return f"{found:.3f}" if isinstance(found, float | int) else "not estimable"


def _failed(manifest: ManifestWriter) -> Iterator[str]:
    for outcome in manifest.failed():
        message = outcome.error.message if outcome.error else ""
        yield f"failed: {outcome.subject} in {outcome.stage}: {message}"
