"""The pages with a picture of every knee: lost bones first, then those that fit worst."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from srrd_ray.core.records import Outcome
from srrd_ray.report.content import failure_table
from srrd_ray.report.page import SIMULATED_COHORT, Links, Note, Page, Picture, Section
from srrd_ray.report.style import contour_words

PER_PAGE = 60
INTRO = (
    "CT with the bones found in it, the MR and its synthetic CT laid over it, and CT and MR in turn. "
    "Look for contours that leave the bone, edges that jump from tile to tile, and bones of another knee. "
    "A refused bone is drawn through the pose that was refused; where there was none, the middles of the "
    "images lie on one another. A picture opens at full size."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class KneePicture:
    """The thumbnail (WebP) of a knee, the file with the picture, what came of its bones in words, and whether
    one of them was refused.
    """

    name: str
    words: str
    thumbnail: bytes
    file: str
    refused: bool = False


def qc_page(
    pictures: Sequence[KneePicture],
    files: Sequence[str],
    number: int,
    *,
    lost: Sequence[Outcome] = (),
    simulated: bool = False,
    software: str = "",
) -> Page:
    """Return page `number` (from 1) of the pictures in their order.

    `files` are the names of all pages; `lost` are failures of knees that have no picture, told on the first.
    """
    first = (number - 1) * PER_PAGE
    shown = pictures[first : first + PER_PAGE]
    knees = Section(
        anchor="knees",
        title=f"Knees {first + 1} to {first + len(shown)} of {len(pictures)}",
        intro=f"{INTRO} Contours: {contour_words()}.",
        blocks=(_links(files, number), *map(knee_picture, shown)),
    )
    without = Section(
        anchor="lost",
        title="Knees without a picture",
        intro="They failed before.",
        blocks=(failure_table(lost),),
    )
    return Page(
        title="SRRD-Ray: every knee of a run",
        subtitle="Bones that were refused first, then by the distance of their surfaces",
        banners=(Note(text=SIMULATED_COHORT, tone="warning"),) if simulated else (),
        cards=(),
        sections=(knees, without) if lost and number == 1 else (knees,),
        footer=f"SRRD-Ray {software}. Research software; not a medical device.",
    )


def _links(files: Sequence[str], number: int) -> Links:
    pages = [(f"page {n}", file) for n, file in enumerate(files, start=1) if n != number]
    return Links(items=(("Report of the run", "../report.html"), *pages))


def count_pages(pictures: int) -> int:
    """Return how many pages so many pictures take.

    >>> count_pages(0), count_pages(60), count_pages(61)
    (0, 1, 2)
    """
    return -(-pictures // PER_PAGE)


def knee_picture(one: KneePicture, folder: str = "") -> Picture:
    """Return the thumbnail of a knee, which opens its picture; `folder` holds that, as seen from the page."""
    source = f"data:image/webp;base64,{base64.b64encode(one.thumbnail).decode()}"
    caption = f"{one.name}: {one.words}"
    return Picture(
        source=source,
        alt=f"Bones and registration of {one.name}",
        caption=caption,
        wide=False,
        link=folder + one.file,
    )
