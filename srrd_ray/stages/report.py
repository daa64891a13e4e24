"""Stage ``report``: one page of the run, and beside it what other software reads of it."""

from __future__ import annotations

from srrd_ray.execution.stage import NoSettings, Stage, Work
from srrd_ray.execution.work import Produced


def report(work: Work[NoSettings]) -> Produced:
    """Write the report."""
    from srrd_ray.stages.shared.run_page import build_report  # matplotlib takes a second to import

    return Produced(paths=build_report(work.layout))


STAGE = Stage(
    name="report",
    scope="cohort",
    function=report,
    settings=NoSettings,
    needs=(
        "ingest",
        "learn-synthesis",
        "learn-aligned",
        "synthesize",
        "register",
        "qc",
        "tables",
        "teach",
        "tune",
        "distil",
        "classify",
        "evaluate",
    ),
    outside=("manifest",),
    outputs=("report.html", "qc/pages", "citation.bib", "dataset_description.json", "ro-crate-metadata.json"),
)
