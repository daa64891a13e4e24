"""One image under two participants: the patient would be in training and test at once, whatever the folds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from srrd_ray.core.errors import CohortError
from srrd_ray.core.records import Knee


def leaks(images: Iterable[tuple[str, Knee]]) -> list[tuple[Knee, ...]]:
    """Return the knees, in order, of each image that goes by two participants or more.

    Parameters
    ----------
    images
        The hash of the voxels of every image (`hash_voxels`: blind to format, origin and order of axes), and
        its knee.
    """
    owners: dict[str, set[Knee]] = defaultdict(set)
    for digest, knee in images:
        owners[digest].add(knee)
    shared = {
        tuple(sorted(knees)) for knees in owners.values() if len({knee.participant for knee in knees}) > 1
    }
    return sorted(shared)


def leak_error(knees: Iterable[Knee]) -> CohortError:
    """Return the refusal of a cohort in which these knees have one image."""
    return CohortError(
        "leakage-same-image",
        "the same voxels under two participants: a patient in training and test at once",
        where=", ".join(knee.key for knee in knees),
        todo="Remove all but one from knees.tsv, or give both knees one participant_id.",
    )
