from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import FEMUR, TIBIA
from srrd_ray.segmentation.knee_shape import SHAPE_COLUMNS, knee_shape
from srrd_ray.stages.shape import write_shape
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table
from tests.segmentation.planted import shaped_knee

KNEE = Knee(participant="007", side="R")


def stored(root: Path, *bones: int) -> tuple[RunLayout, Volume[np.int16], Volume[np.uint8]]:
    """A run with the CT of one knee of mean bones, of which these were found."""
    whole = shaped_knee(KNEE.side)
    found = np.where(np.isin(whole.array, bones), whole.array, 0).astype(np.uint8)
    labels = Volume(array=found, geometry=whole.geometry)
    hu = np.where(np.isin(whole.array, (FEMUR, TIBIA)), 900, 60).astype(np.int16)
    ct = Volume(array=hu, geometry=whole.geometry)
    layout = RunLayout(root=root)
    omezarr.write_volume(layout.volume(KNEE, "ct"), ct, knee=KNEE, image="ct", unit="HU")
    omezarr.write_volume(layout.volume(KNEE, "ct_bones"), labels, knee=KNEE, image="ct_bones", unit="label")
    return layout, ct, labels


def test_the_row_of_a_knee_is_its_shape_in_the_stored_volumes(tmp_path: Path) -> None:
    layout, ct, labels = stored(tmp_path, FEMUR, TIBIA)
    row = read_table(write_shape(layout, KNEE)).iloc[0]
    assert (row["participant"], row["side"]) == ("007", "R")
    expected = knee_shape(ct, labels, "R")
    np.testing.assert_allclose([row[name] for name in SHAPE_COLUMNS], list(expected.values()))


def test_a_knee_without_ct_has_no_row(tmp_path: Path) -> None:
    assert read_table(write_shape(RunLayout(root=tmp_path), KNEE)).empty


def test_a_bone_that_was_not_found_is_named(tmp_path: Path) -> None:
    layout, _, _ = stored(tmp_path, FEMUR)
    with pytest.raises(InputError, match="tibia"):
        write_shape(layout, KNEE)
