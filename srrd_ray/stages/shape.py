"""Stage ``shape``: joint space, subchondral plates and first shape coordinates of one knee, from its CT."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import NoSettings, Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_volume
from srrd_ray.storage.tables import write_table

TABLE: Final = "shape"


def write_shape(layout: RunLayout, knee: Knee) -> Path:
    """Return the path of the part of table ``shape`` of a knee: one row, null where the CT shows too little;
    no row of a knee without CT.

    Raises
    ------
    InputError
        `bone-missing`.
    """
    from srrd_ray.segmentation.knee_shape import SHAPE_COLUMNS, knee_shape  # takes a second to import

    rows = []
    if layout.volume(knee, "ct").exists():
        ct, labels = read_volume(layout.volume(knee, "ct")), read_volume(layout.volume(knee, "ct_bones"))
        bones = Volume(array=labels.array.astype(np.uint8, copy=False), geometry=labels.geometry)
        rows = [{"participant": knee.participant, "side": knee.side, **knee_shape(ct, bones, knee.side)}]
    path = layout.part(TABLE, knee)
    write_table(path, pd.DataFrame(rows, columns=["participant", "side", *SHAPE_COLUMNS]), TABLE)
    return path


def shape(work: Work[NoSettings]) -> Produced:
    """Measure the shape of a knee."""
    return Produced(paths=(write_shape(work.layout, work.item.knees[0]),))


STAGE = Stage(
    name="shape",
    scope="knee",
    function=shape,
    settings=NoSettings,
    needs=("ingest", "register"),
    outputs=(f"tables/parts/{TABLE}",),
    for_the_eye=True,
)
