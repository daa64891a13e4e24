"""Stage ``tables``: the rows of all knees in one table each, and who is tested in which fold."""

from __future__ import annotations

from dataclasses import dataclass

from srrd_ray.core.hashing import seed_from
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.gather import check_duplicate_images, gather_parts, write_knees


@dataclass(frozen=True, kw_only=True, slots=True)
class TablesSettings:
    """How patients are dealt out to folds."""

    folds: int
    seed: int


def gather_tables(work: Work[TablesSettings]) -> Produced:
    """Gather the rows of the knees that remain, and deal their patients out to folds."""
    layout, settings, cohort = work.layout, work.settings, work.cohort
    check_duplicate_images(layout, cohort.remaining)
    paths = [gather_parts(layout, name, cohort.remaining) for name in ("registration", "measures")]
    seed = seed_from(settings.seed, "folds")
    knees = write_knees(layout, cohort.knees, cohort.remaining, settings.folds, seed)
    return Produced(paths=(*paths, knees))


STAGE = Stage(
    name="tables",
    scope="cohort",
    function=gather_tables,
    settings=TablesSettings,
    keys={"folds": "distillation.folds"},
    needs=("ingest", "register", "measure"),
    outside=("diagnoses",),
    outputs=("tables/registration", "tables/measures", "tables/knees"),
)
