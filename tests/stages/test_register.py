from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.geometry import transform_points
from srrd_ray.core.records import BONES, Knee
from srrd_ray.core.volume import Volume
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.poses import read_pose
from srrd_ray.stages.register import COLUMNS, register_knee
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table
from tests.registration import phantoms

KNEE = Knee(participant="001", side="R")
POSE = phantoms.rigid((7, 2, -3), (12, -5, 3))


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return a run with CT, MR and synthetic CT of one phantom knee."""
    made = RunLayout(root=tmp_path)
    ct, _ = phantoms.knee()
    sct = phantoms.moved(ct, POSE)
    signal = np.clip(1.0 - (sct.array + 50.0) / 1600.0, 0.0, None) * (sct.array > 150) * 80.0
    mr = Volume(array=signal.astype(np.float32), geometry=sct.geometry)
    omezarr.write_volume(made.volume(KNEE, "ct"), ct, knee=KNEE, image="ct", unit="HU")
    omezarr.write_volume(made.volume(KNEE, "mr"), mr, knee=KNEE, image="mr", unit="au")
    omezarr.write_volume(made.volume(KNEE, "sct"), sct, knee=KNEE, image="sct", unit="HU", synthetic_from="mr")
    return made


def test_both_bones_are_registered_and_every_output_is_written(layout: RunLayout) -> None:
    found = register_knee(KNEE, layout, RegistrationConfig())
    _, labels = phantoms.knee()
    for transform, label in zip(found, (1, 2), strict=True):
        assert transform.quality.accepted, transform.quality.reason
        points = phantoms.GRID.index_to_lps(np.argwhere(labels.array == label)[::300])
        assert np.linalg.norm(transform_points(transform.matrix, points) - transform_points(POSE, points), axis=1).mean() < 0.4
        assert read_pose(layout, KNEE, transform.bone) == transform
    assert set(np.unique(omezarr.read_volume(layout.volume(KNEE, "mr_bones")).array)) == {0, 1, 2}
    table = read_table(layout.part("registration", KNEE), COLUMNS)
    assert table["bone"].tolist() == list(BONES)
    assert (table["mae_hu"] < 60).all()


def test_a_synthetic_ct_without_bones_leads_to_refused_bones_and_never_to_an_accepted_identity(
    layout: RunLayout,
) -> None:
    stored = omezarr.read_volume(layout.volume(KNEE, "sct"))
    flat = Volume(array=np.full(stored.array.shape, 40.0, dtype=np.float32), geometry=stored.geometry)
    omezarr.write_volume(layout.volume(KNEE, "sct"), flat, knee=KNEE, image="sct", unit="HU", synthetic_from="mr")
    found = register_knee(KNEE, layout, RegistrationConfig())
    assert [t.quality.accepted for t in found] == [False, False]
    assert {t.quality.reason for t in found} == {"synthetic-bone-not-found"}
    assert not omezarr.read_volume(layout.volume(KNEE, "mr_bones")).array.any()
    assert read_table(layout.part("registration", KNEE), COLUMNS)["mae_hu"].isna().all()
