from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.bones import BONES, CUT_OFF
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import transform_points
from srrd_ray.core.records import Image, Knee
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import Work
from srrd_ray.execution.work import WorkItem
from srrd_ray.imaging.source import Note
from srrd_ray.knee_bones.find import FoundBones
from srrd_ray.knee_bones.segmenter_model import save_segmenter
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.registration.quality import refuse_bones
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.register import (
    COLUMNS,
    RegisterSettings,
    _write_mr_bones,
    ct_labels,
    register,
    register_knee,
)
from srrd_ray.stages.shared.poses import read_pose
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table
from tests.knee_bones.test_segmenter_model import SMALL, trained
from tests.registration import phantoms

KNEE = Knee(participant="001", side="R")
POSE = phantoms.rigid((7, 2, -3), (12, -5, 3))
QUICK = RegistrationConfig(flexions_deg=(0.0,), twists_deg=(0.0,), candidates=1, search_mm=2.0, refine_mm=1.4)
"""Enough where the pose is not what is tested: one start, on coarse grids."""


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
    omezarr.write_volume(
        made.volume(KNEE, "sct"), sct, knee=KNEE, image="sct", unit="HU", synthetic_from="mr"
    )
    return made


@pytest.mark.slow
def test_both_bones_are_registered_and_every_output_is_written(layout: RunLayout) -> None:
    found = register_knee(KNEE, layout, RegistrationConfig())
    _, labels = phantoms.knee()
    for transform, label in zip(found, (1, 2), strict=True):
        assert transform.quality.accepted, transform.quality.reason
        points = phantoms.GRID.index_to_lps(np.argwhere(labels.array == label)[::300])
        assert (
            np.linalg.norm(
                transform_points(transform.matrix, points) - transform_points(POSE, points), axis=1
            ).mean()
            < 0.4
        )
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
    omezarr.write_volume(
        layout.volume(KNEE, "sct"), flat, knee=KNEE, image="sct", unit="HU", synthetic_from="mr"
    )
    settings = RegisterSettings(registration=QUICK)
    item = WorkItem(name=KNEE.key, input_hash="", knees=(KNEE,))
    lost = register(Work(item=item, layout=layout, settings=settings)).failed
    assert [outcome.subject for outcome in lost] == [f"{KNEE.key} {bone}" for bone in BONES]
    assert all(o.error and "no bones were found in the synthetic CT" in o.error.message for o in lost)
    poses = [read_pose(layout, KNEE, bone) for bone in BONES]
    assert {pose.quality.reason for pose in poses if pose} == {"synthetic-bone-not-found"}
    assert not omezarr.read_volume(layout.volume(KNEE, "mr_bones")).array.any()
    assert read_table(layout.part("registration", KNEE), COLUMNS)["mae_hu"].isna().all()


def labels_of(layout: RunLayout, image: Image) -> NDArray[np.generic]:
    return omezarr.read_volume(layout.volume(KNEE, image)).array


def test_a_replaced_ct_is_segmented_anew(layout: RunLayout) -> None:
    ct_labels(KNEE, layout, QUICK)
    before = labels_of(layout, "ct_bones")
    ct, _ = phantoms.knee()
    shifted = Volume(array=np.roll(ct.array, 3, axis=2), geometry=ct.geometry)
    omezarr.write_volume(layout.volume(KNEE, "ct"), shifted, knee=KNEE, image="ct", unit="HU")
    ct_labels(KNEE, layout, QUICK)
    moved = labels_of(layout, "ct_bones")
    assert not np.array_equal(moved, before)
    assert np.count_nonzero(moved != np.roll(before, 3, axis=2)) < 0.05 * np.count_nonzero(before)


def test_masks_given_with_ct_and_mr_are_the_bones(layout: RunLayout) -> None:
    _, labels = phantoms.knee()
    given = Volume(array=ndimage.grey_erosion(labels.array, size=3), geometry=labels.geometry)
    omezarr.write_volume(layout.volume(KNEE, "ct_masks"), given, knee=KNEE, image="ct_masks", unit="label")
    mr = omezarr.read_stored(layout.volume(KNEE, "mr")).geometry
    femur = np.zeros(mr.shape, dtype=np.uint8)
    femur[:5, :5, :5] = 1
    omezarr.write_volume(
        layout.volume(KNEE, "mr_masks"),
        Volume(array=femur, geometry=mr),
        knee=KNEE,
        image="mr_masks",
        unit="label",
    )
    found = register_knee(KNEE, layout, QUICK)
    assert [transform.quality.accepted for transform in found] == [True, True]
    assert np.array_equal(labels_of(layout, "ct_bones"), given.array)
    assert np.array_equal(labels_of(layout, "mr_bones") == 1, femur == 1)
    assert (labels_of(layout, "mr_bones") == 2).any(), "no mask of the tibia: mapped from CT"


def test_bones_of_the_mr_that_cannot_be_are_refused_with_the_reason(
    layout: RunLayout, tmp_path: Path
) -> None:
    untrained = save_segmenter(trained(tmp_path / "made"), tmp_path / "model", SMALL, {})
    config = replace(QUICK, moving_bones="mr", bones=BoneConfig(segmenter=str(untrained)))
    item = WorkItem(name=KNEE.key, input_hash="", knees=(KNEE,))
    lost = register(Work(item=item, layout=layout, settings=RegisterSettings(registration=config))).failed
    assert [outcome.subject for outcome in lost] == [f"{KNEE.key} {bone}" for bone in BONES]
    assert all(o.error and o.error.code == "mr-bones-refused" for o in lost)
    assert all(o.error and "bone-" in o.error.message for o in lost)


def test_where_the_bones_of_the_mr_cannot_be_those_of_its_synthetic_ct_are_taken(
    layout: RunLayout, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    untrained = save_segmenter(trained(tmp_path / "made"), tmp_path / "model", SMALL, {})
    auto = replace(QUICK, moving_bones="auto", bones=BoneConfig(segmenter=str(untrained), whole_mm=1.0))
    with caplog.at_level("INFO"):
        found = register_knee(KNEE, layout, auto)
    assert "those of the MR cannot be" in caplog.text
    assert [transform.quality.accepted for transform in found] == [True, True]


def test_what_was_cut_off_of_bones_in_the_mr_is_kept_with_its_flag(layout: RunLayout) -> None:
    ct_bones = ct_labels(KNEE, layout, QUICK)
    mr = omezarr.read_stored(layout.volume(KNEE, "mr")).geometry
    lumps = np.zeros(mr.shape, np.uint8)
    lumps[2:6, 2:6, 2:6] = 1
    found = FoundBones(
        labels=Volume(array=np.zeros(mr.shape, np.uint8), geometry=mr), side="R",
        notes=(Note(severity="FLAG", code="bone-lump", message="femur"),),
        lumps=Volume(array=lumps, geometry=mr),
    )  # fmt: skip
    _write_mr_bones(KNEE, layout, [], ct_bones, found)
    assert np.array_equal(labels_of(layout, "mr_bones") == CUT_OFF + 1, lumps == 1)
    assert omezarr.read_notes(layout.volume(KNEE, "mr_bones")) == ("FLAG bone-lump: femur",)


def test_the_reason_of_refused_bones_is_no_longer_than_a_table_holds() -> None:
    error = InputError("bone-hole", "many findings", got="; ".join(f"femur: {n}" for n in range(100)))
    assert len(refuse_bones("mr", error).reason) <= 400
