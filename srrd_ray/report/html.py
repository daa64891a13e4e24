"""The page of a run."""

from __future__ import annotations

from pathlib import PurePosixPath

import pandas as pd

from srrd_ray.core.json_tree import at
from srrd_ray.report import charts, content, figures, overlays
from srrd_ray.report.claim import claim_table
from srrd_ray.report.diagnosis_section import diagnosis_section
from srrd_ray.report.flow import flow_diagram
from srrd_ray.report.methods import USE, methods_blocks
from srrd_ray.report.overlays import KneeImages
from srrd_ray.report.page import SIMULATED_COHORT, Block, Grid, Links, Note, Page, Picture, Section
from srrd_ray.report.parameter_section import parameter_section
from srrd_ray.report.qc_page import knee_picture
from srrd_ray.report.run import Run, draw_or_note, missing_note
from srrd_ray.report.search_section import search_section, training_section
from srrd_ray.report.style import contour_words, png_uri, styled
from srrd_ray.report.synthesis_section import synthesis_section

MOST_REFUSED = 6
"""Knees with a refused bone that the report itself shows."""


def run_page(run: Run) -> Page:
    """Return the page of a run; a part whose tables are missing says so instead."""
    simulated = at(run.metrics, "cohort", "simulated")
    with styled():
        parts = (
            _cohort,
            _flow,
            _alignment,
            synthesis_section,
            parameter_section,
            diagnosis_section,
            training_section,
            search_section,
            _stages,
        )
        sections = tuple(part(run) for part in parts)
    return Page(
        title="SRRD-Ray: report of a run",
        subtitle="Subchondral trabecular bone of the knee from CT, learned from MR",
        banners=(Note(text=SIMULATED_COHORT, tone="warning"),) if simulated is True else (),
        cards=content.cards(run.metrics, run.outcomes) if run.metrics is not None else (),
        sections=(*sections, _limits(run), _methods(run), _claim(run), _provenance(run)),
        footer=f"SRRD-Ray {run.software}. Research software; not a medical device.",
    )


def _cohort(run: Run) -> Section:
    intro = (
        "Who is in the cohort. A knee counts as osteoarthritic from Kellgren-Lawrence grade 2, unless the "
        "cohort's table says otherwise."
    )
    return Section(anchor="cohort", title="Cohort", intro=intro, blocks=_cohort_blocks(run))


def _cohort_blocks(run: Run) -> tuple[Block, ...]:
    knees = run.tables.get("knees")
    if knees is None or knees.empty:
        return (missing_note("knees"),)
    ages = knees["age"].dropna()
    rows = (
        ("knees", str(len(knees))),
        ("patients", str(knees["participant"].nunique())),
        ("knees with / without osteoarthritis / unknown", " / ".join(str(int(n)) for n in _classes(knees))),
        (
            "age, median (range)",
            f"{ages.median():.0f} ({ages.min():.0f} to {ages.max():.0f}) years" if len(ages) else "unknown",
        ),
        ("women / men", f"{int((knees['sex'] == 'F').sum())} / {int((knees['sex'] == 'M').sum())} knees"),
        ("right / left", f"{int((knees['side'] == 'R').sum())} / {int((knees['side'] == 'L').sum())}"),
        ("folds (by patient)", str(knees["fold"].nunique())),
    )
    table = Grid(header=("", ""), rows=rows)
    picture = draw_or_note(
        lambda: figures.cohort(knees),
        "Grades, ages and sexes of the knees",
        "Distribution of grade, age and sex over knees.",
    )
    return (picture, table)


def _classes(knees: pd.DataFrame) -> tuple[int, int, int]:
    return int((knees["oa"] == 1).sum()), int((knees["oa"] == 0).sum()), int(knees["oa"].isna().sum())


def _alignment(run: Run) -> Section:
    intro = (
        "Femur and tibia are registered separately: the MR is turned into a synthetic CT, which is aligned "
        "with the CT bone by bone. Pictures show knees with a refused bone first, through the pose that was "
        f"refused ({MOST_REFUSED} at most), then of the accepted ones the worst, a middle one and the best; "
        "contours are the bones segmented on CT."
    )
    blocks: list[Block] = []
    errors, quality = run.tables.get("target_errors"), run.tables.get("registration")
    if quality is None or quality.empty:
        blocks.append(missing_note("registration"))
    else:
        blocks.append(_quality(quality))
    if errors is not None and not errors.empty:
        used = errors[errors["accepted"].astype(bool)]
        caption = (
            "Distance between found and true position of landmarks spread over each bone, accepted "
            "transforms only. Lines are medians."
        )
        blocks.insert(
            0,
            draw_or_note(
                lambda: figures.target_errors(used),
                "Histogram of target registration error",
                caption,
                wide=False,
            ),
        )
    if run.qc:
        blocks.append(Links(items=(("Pictures of every knee, refused bones first", run.qc),)))
    refused = [one for one in run.pictures if one.refused]
    blocks += [knee_picture(one, f"{PurePosixPath(run.qc).parent}/") for one in refused[:MOST_REFUSED]]
    blocks += [_overlay(title, images) for title, images in run.overlays.items()]
    if not run.overlays:
        blocks.append(Note(text="No registration can be drawn: the run folder has no volumes or transforms."))
    return Section(
        anchor="registration", title="Synthesis and registration", intro=intro, blocks=tuple(blocks)
    )


def _quality(quality: pd.DataFrame) -> Block:
    refused = int((~quality["accepted"].astype(bool)).sum())
    nowhere = int((quality["dice"] == 0).sum())
    caption = (
        f"Overlap and surface distance of CT bone and registered synthetic-CT bone; {refused} of "
        f"{len(quality)} bones refused and not used further"
        + (f", {nowhere} of them without any pose to draw." if nowhere else ".")
    )
    return draw_or_note(
        lambda: figures.registration_quality(quality), "Dice against surface distance", caption, wide=False
    )


def _overlay(title: str, images: KneeImages) -> Block:
    source = png_uri(overlays.registration(images))
    caption = f"{title}. Coronal above, sagittal (medial) below; contours: {contour_words()}; tiles of 6 mm."
    return Picture(source=source, alt=f"Registration overlay, {title}", caption=caption)


def _stages(run: Run) -> Section:
    missing = missing_note("outcomes (run.json)")
    blocks: list[Block] = [content.failure_table(run.outcomes) if run.outcomes else missing]
    stages = at(run.manifest, "stages")
    stages = stages if isinstance(stages, list) else []
    times = [(str(at(stage, "stage")), float(str(at(stage, "seconds")))) for stage in stages]
    if times:
        caption = (
            "Wall time of each stage, all knees together, in the last call of the program (what was done "
            "before is skipped)."
        )
        blocks.append(draw_or_note(lambda: charts.times(times), "Time of each stage", caption, wide=False))
    if run.outcomes:
        blocks.append(content.outcome_table(run.outcomes))
    return Section(
        anchor="run",
        title="What failed, and times",
        intro="One knee's or bone's failure never stops the others; each is listed with its reason.",
        blocks=tuple(blocks),
    )


def _limits(run: Run) -> Section:
    return Section(
        anchor="limits",
        title="Limits",
        intro="Read before quoting a figure.",
        blocks=content.limits(run.metrics),
    )


def _provenance(run: Run) -> Section:
    table = content.provenance_table(run.manifest)
    blocks: tuple[Block, ...] = (table,) if table.rows else (missing_note("run.json"),)
    return Section(anchor="provenance", title="Provenance", intro="", blocks=blocks)


def _flow(run: Run) -> Section:
    intro = "How many knees and bones came to each stage and went on, and why the others did not."
    if not run.outcomes:
        return Section(
            anchor="flow", title="Flow", intro=intro, blocks=(missing_note("outcomes (run.json)"),)
        )
    drawn = flow_diagram(run.outcomes, run.tables.get("predictions"), run.tables.get("knees"))
    return Section(anchor="flow", title="Flow", intro=intro, blocks=(drawn,))


def _methods(run: Run) -> Section:
    return Section(
        anchor="methods", title="Methods to cite", intro=USE, blocks=methods_blocks(run.manifest, run.metrics)
    )


def _claim(run: Run) -> Section:
    table = claim_table(run.manifest, run.metrics)
    return Section(anchor="claim", title="CLAIM checklist", intro="", blocks=(table,))
