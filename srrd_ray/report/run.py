"""The content of a report of a run, and how a part of it is drawn or said to be missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.json_tree import Json
from srrd_ray.core.records import RUN_MODELS, Outcome
from srrd_ray.report import content
from srrd_ray.report.overlays import KneeImages
from srrd_ray.report.page import Block, Note, Picture
from srrd_ray.report.qc_page import KneePicture
from srrd_ray.report.style import svg_uri

MODELS: tuple[str, ...] = RUN_MODELS


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The content of a report. Tables by name, overlays by title, `qc` the page of all knees if any and
    `pictures` what it shows, refused bones first, `losses` the epochs of each training by its stage.
    """

    tables: Mapping[str, pd.DataFrame]
    metrics: Json
    manifest: Json
    outcomes: tuple[Outcome, ...]
    overlays: Mapping[str, KneeImages] = field(default_factory=dict)
    qc: str = ""
    pictures: Sequence[KneePicture] = ()
    losses: Mapping[str, Json] = field(default_factory=dict)
    software: str = ""


def draw_or_note(draw: Callable[[], Figure], alt: str, caption: str, *, wide: bool = True) -> Block:
    """Return the picture, or a note with the reason where its numbers do not exist."""
    try:
        return Picture(source=svg_uri(draw()), alt=alt, caption=caption, wide=wide)
    except NotEstimableError as error:
        return Note(text=f"{alt}: not estimable, {content.strip_code(str(error))}.")


def missing_note(name: str) -> Note:
    """Return that a table is not there yet."""
    return Note(text=f"Nothing to show yet: the run has no table “{name}”.", tone="warning")
