"""Which patients the synthesis never learns from: its figures are of them."""

from __future__ import annotations

from collections.abc import Sequence

from srrd_ray.core.hashing import seed_from
from srrd_ray.core.records import Knee

FEWEST = 3
"""Patients below which none is held out: the others would be too few to learn from."""
MOST = 40
"""Patients held out at most, of whatever cohort."""


def held_out_patients(knees: Sequence[Knee], share: float, seed: int) -> tuple[str, ...]:
    """Return the patients that are held out: about `share` of them, one at least where `share` is above 0.

    Whether a patient is among them depends on the others as little as can be: each has a number of its own,
    drawn from `seed`, and the lowest are taken.

    >>> knees = [Knee(participant=f"{n:03}", side="R") for n in range(10)]
    >>> len(held_out_patients(knees, 0.2, 1)), held_out_patients(knees, 0.0, 1)
    (2, ())
    >>> held_out_patients(knees[:2], 0.2, 1)
    ()
    """
    patients = sorted({knee.participant for knee in knees})
    if share == 0 or len(patients) < FEWEST:
        return ()
    count = min(max(round(share * len(patients)), 1), MOST, len(patients) - 1)
    drawn = sorted(patients, key=lambda patient: (seed_from(seed, "held-out", patient), patient))
    return tuple(sorted(drawn[:count]))
