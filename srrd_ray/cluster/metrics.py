"""Metrics of the work for Prometheus, told by the driver through Ray: how far each stage is, what failed, how long units take.

Ray's nodes offer them as ``ray_<name>`` (counters: ``ray_<name>_total``); `examples/grafana-srrd.json` shows them. Their labels are
stages, statuses and codes: never a knee, so that they are few and hold no patient data.
"""

from __future__ import annotations

from collections.abc import Sequence

import ray
from ray.util.metrics import Counter, Gauge, Histogram

from srrd_ray.core.records import Outcome

SECONDS = [1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]
"""Upper ends of the classes of ``srrd_unit_seconds``."""


class Progress:
    """Tells how one stage goes on. Without a connection to Ray it tells nothing.

    Parameters
    ----------
    stage
        Name of the stage, the label of all its metrics.
    total
        Units to do.
    """

    def __init__(self, stage: str, total: int) -> None:
        self.stage, self.left = {"stage": stage}, total
        self.units = Counter("srrd_units", "Units of work that ended.", ("stage", "status"))
        self.failures = Counter("srrd_failures", "Knees (or the cohort) that failed, by code.", ("stage", "code"))
        self.units_left = Gauge("srrd_units_left", "Units of work to do.", ("stage",))
        self.seconds = Counter("srrd_seconds", "Seconds spent on units, all workers together.", ("stage",))
        self.unit_seconds = Histogram("srrd_unit_seconds", "Seconds a unit.", SECONDS, ("stage",))
        self._tell_left()

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Take down that a unit ended; it failed where all its knees did."""
        self.left -= 1
        if not ray.is_initialized():
            return
        bad = [outcome.error.code for outcome in outcomes if outcome.error is not None]
        self.units.inc(1, self.stage | {"status": "failed" if len(bad) == len(outcomes) else "done"})
        for code in bad:
            self.failures.inc(1, self.stage | {"code": code})
        seconds = sum(outcome.seconds for outcome in outcomes)
        self.unit_seconds.observe(seconds, self.stage)
        if seconds > 0:
            self.seconds.inc(seconds, self.stage)
        self._tell_left()

    def _tell_left(self) -> None:
        if ray.is_initialized():
            self.units_left.set(self.left, self.stage)


def wrote(stage: str, size: int) -> None:
    """Take down the bytes of what a unit wrote."""
    if ray.is_initialized() and size > 0:
        Counter("srrd_bytes_written", "Bytes of the outputs of units.", ("stage",)).inc(size, {"stage": stage})
