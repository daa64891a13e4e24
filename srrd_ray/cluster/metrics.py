"""Metrics for Prometheus, reported by the driver through Ray: progress of each stage, failures, durations.

Ray's nodes offer them as ``ray_<name>`` (counters: ``ray_<name>_total``); `examples/grafana-srrd.json` shows
them. Their labels are stages, statuses and codes: never a knee, so that they are few and hold no patient
data.
"""

from __future__ import annotations

from functools import cached_property

import ray
from ray.util.metrics import Counter, Gauge, Histogram

from srrd_ray.execution.events import Event, ItemEnded, StageStarted

SECONDS = [1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]
"""Upper ends of the classes of ``srrd_unit_seconds``."""


class Metrics:
    """A listener of the runner; without a connection to Ray it reports nothing.

    Items that are skipped are not counted.
    """

    def __init__(self) -> None:
        self.remaining = 0

    def __call__(self, event: Event) -> None:
        """Report an event."""
        if isinstance(event, StageStarted):
            self.remaining = event.items
        elif isinstance(event, ItemEnded):
            self.remaining -= 1
            if ray.is_initialized() and not event.skipped:
                self._report(event)

    def _report(self, event: ItemEnded) -> None:
        label, outcomes, sidecar = {"stage": event.stage}, event.result.outcomes, event.result.sidecar
        failed = [outcome.error.code for outcome in outcomes if outcome.error is not None]
        self._series.items.inc(1, label | {"status": "failed" if len(failed) == len(outcomes) else "done"})
        for code in failed:
            self._series.failures.inc(1, label | {"code": code})
        seconds = sum(outcome.seconds for outcome in outcomes)
        self._series.item_seconds.observe(seconds, label)
        if seconds > 0:
            self._series.seconds.inc(seconds, label)
        if sidecar is not None and sidecar.size > 0:
            self._series.bytes_written.inc(sidecar.size, label)
        self._series.items_left.set(self.remaining, label)

    @cached_property
    def _series(self) -> _Series:
        return _Series()


class _Series:
    """The time series, made once there is a connection."""

    def __init__(self) -> None:
        self.items = Counter("srrd_units", "Work items that ended.", ("stage", "status"))
        self.failures = Counter(
            "srrd_failures", "Knees (or the cohort) that failed, by code.", ("stage", "code")
        )
        self.items_left = Gauge("srrd_units_left", "Remaining work items.", ("stage",))
        self.seconds = Counter(
            "srrd_seconds", "Seconds spent on work items, all workers together.", ("stage",)
        )
        self.item_seconds = Histogram("srrd_unit_seconds", "Seconds a work item.", SECONDS, ("stage",))
        self.bytes_written = Counter("srrd_bytes_written", "Bytes of the outputs of work items.", ("stage",))
