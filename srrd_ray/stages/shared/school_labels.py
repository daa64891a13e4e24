"""Whose MR the school's reader may label: that of knees like those that it learnt from."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

from srrd_ray.core.errors import InputError
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.fingerprint import Distance, Fingerprint, mr_distances

log = logging.getLogger(__name__)

COLUMNS = ("participant", "side", "cubes", "mr_distance", "learnt_from", "reasons")


def like_the_school(data: DistillationData, fingerprint: Fingerprint) -> DistillationData:
    """Return the cubes of knees whose MR lies among what the reader of `fingerprint` learnt from.

    Raises
    ------
    InputError
        `mr-outside-school` where no knee is left.
    """
    inside = _inside(mr_distances(fingerprint, data))
    return data.rows(np.array([knee in inside for knee in _knees(data)], dtype=np.bool_))


def _inside(distances: Mapping[tuple[str, str], Distance]) -> set[tuple[str, str]]:
    """Return the knees whose MR is like the school's; `mr-outside-school` where there is none."""
    inside = {knee for knee, distance in distances.items() if not distance.flagged}
    if not inside:
        nearest = min(distances.values(), key=lambda distance: distance.largest)
        raise InputError(
            "mr-outside-school", "the MR of no knee is like what the school's reader learnt from",
            got="; ".join(nearest.reasons),
            todo="Set distillation.labels: measured, or hold a school whose scans are like these.",
        )  # fmt: skip
    return inside


def label_table(data: DistillationData, fingerprint: Fingerprint) -> pd.DataFrame:
    """Return a row a knee: how far its MR lies from the school's, in SDs, and whether it is learnt from;
    errors as `like_the_school`.
    """
    distances = mr_distances(fingerprint, data)
    learnt = _inside(distances)
    count = dict(zip(*np.unique([f"{p}/{s}" for p, s in _knees(data)], return_counts=True), strict=True))
    rows = [
        (
            patient,
            side,
            int(count[f"{patient}/{side}"]),
            one.largest,
            (patient, side) in learnt,
            "; ".join(one.reasons),
        )
        for (patient, side), one in distances.items()
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    outside = int((~table["learnt_from"]).sum())
    if outside:
        log.warning(
            "%-16s MR of %d of %d knees is not like the school's: not learnt from (tables/labels)",
            "teach", outside, len(table),
        )  # fmt: skip
    return table


def _knees(data: DistillationData) -> list[tuple[str, str]]:
    return [(str(p), str(r)[0]) for p, r in zip(data.patients, data.regions, strict=True)]
