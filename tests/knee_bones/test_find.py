"""Femur, tibia and side of a knee, by rules and by the network; what cannot be is refused with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.bones import CUT_OFF
from srrd_ray.core.errors import ConfigError, InputError, StoreError
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image
from srrd_ray.knee_bones.find import find_bones, require_known_side, shows_whole_joint
from srrd_ray.knee_bones.segmenter_files import hash_segmenter
from srrd_ray.knee_bones.segmenter_model import save_segmenter
from srrd_ray.registration.bones import BoneConfig, segment_ct_bones
from srrd_ray.segmentation.classes import FIBULA, PATELLA
from srrd_ray.segmentation.grey_values import WINDOW_HU
from tests.knee_bones.class_reader import leaking, painted
from tests.knee_bones.test_segmenter_model import SMALL, trained
from tests.registration import phantoms
from tests.segmentation.planted import shaped_knee

NETWORK = BoneConfig(by="network")


def test_rules_are_asked_for_a_ct_and_a_side_that_nothing_shows_is_said() -> None:
    ct, _ = phantoms.knee()
    found = find_bones(ct, "ct", "R")
    assert np.array_equal(found.labels.array, segment_ct_bones(ct, "R").array)
    assert found.side is None
    assert [(note.severity, note.code) for note in found.notes] == [("FLAG", "side-uncertain")]
    with pytest.raises(InputError, match=r"\[side-unknown\].*no fibula.*--side"):
        require_known_side(found)


@pytest.mark.usefixtures("class_reader")
@pytest.mark.parametrize("side", ["L", "R"])
def test_the_network_gives_femur_and_tibia_alone_and_the_side(side: Side) -> None:
    found = find_bones(painted(side), "ct", None, NETWORK)
    expected = shaped_knee(side).array
    expected[expected > 2] = 0
    assert np.mean(found.labels.array != expected) < 0.002
    assert found.side == require_known_side(found) == side
    other: Side = "R" if side == "L" else "L"
    with pytest.raises(InputError, match="side-mismatch"):
        find_bones(painted(side), "ct", other, NETWORK)


@pytest.mark.usefixtures("class_reader")
def test_a_lump_is_cut_off_flagged_and_kept_apart() -> None:
    image, leak = leaking("L")
    found = find_bones(image, "ct", None, NETWORK)
    assert [(note.severity, note.code) for note in found.notes] == [("FLAG", "bone-lump")]
    assert found.lumps is not None
    stored = found.with_lumps().array
    assert set(np.unique(stored)) == {0, 1, 2, CUT_OFF + 1}
    assert np.array_equal(stored == CUT_OFF + 1, found.lumps.array == 1)
    assert np.array_equal(np.where(stored > CUT_OFF, 0, stored), found.labels.array)
    assert (found.lumps.array > 0)[leak].mean() > 0.8


@pytest.mark.usefixtures("class_reader")
def test_without_fibula_and_patella_the_side_is_flagged_and_a_given_one_is_believed() -> None:
    image = painted("L")
    image.array[np.isin(shaped_knee("L").array, (FIBULA, PATELLA))] = WINDOW_HU[0]
    found = find_bones(image, "ct", "R", NETWORK)
    assert found.side is None
    assert "side-uncertain" in [note.code for note in found.notes]


def test_what_an_untrained_network_finds_is_refused(tmp_path: Path) -> None:
    folder = save_segmenter(trained(tmp_path), tmp_path / "model", SMALL, {})
    ct, _ = phantoms.knee()
    with pytest.raises(InputError, match=r"\[bone-\w+\].*cannot be those of a knee.*mask of your own"):
        find_bones(ct, "ct", "R", BoneConfig(by="network", segmenter=str(folder)))


def test_a_network_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="model-missing"):
        find_bones(phantoms.knee()[0], "mr", "R", BoneConfig(segmenter=str(tmp_path)))


def test_the_hash_of_a_segmenter_is_that_of_its_weights(tmp_path: Path) -> None:
    first = save_segmenter(trained(tmp_path), tmp_path / "first", SMALL, {"knees": "none"})
    same = save_segmenter(trained(tmp_path), tmp_path / "same", SMALL, {"knees": "none"})
    other = save_segmenter(trained(tmp_path), tmp_path / "other", SMALL, {"knees": "one"})
    assert hash_segmenter(str(first)) == hash_segmenter(str(same)) != hash_segmenter(str(other))


def test_the_folder_of_a_segmenter_is_an_absolute_path() -> None:
    with pytest.raises(ConfigError, match=r"segmenter: models/mine, expected .*absolute path"):
        BoneConfig(segmenter="models/mine")


def real_ct() -> Volume[np.generic]:
    path = phantoms.REAL / "knee_ct_1mm.nii.gz"
    if not path.is_file():
        pytest.skip("knee_ct_1mm.nii.gz is not beside the repository")
    return read_image(path, "ct").volume


def test_a_real_tibia_that_the_rules_leave_holes_in_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[bone-hole\].*tibia.*mask of your own"):
        find_bones(real_ct(), "ct", "R", BoneConfig(by="rules"))


def test_the_network_that_ships_finds_the_bones_and_the_side_of_a_real_ct() -> None:
    ct = real_ct()
    found = find_bones(ct, "ct", None)
    assert found.side == "R"
    assert "bones-by-rules" not in [note.code for note in found.notes]
    cm3 = [float((found.labels.array == bone).sum()) * ct.geometry.voxel_mm3 / 1000 for bone in (1, 2)]
    assert 15 < cm3[0] < 40, "the condyles alone are in the field of view"
    assert 140 < cm3[1] < 185
    assert find_bones(ct, "ct", "R").side == "R"
    with pytest.raises(InputError, match="side-mismatch"):
        find_bones(ct, "ct", "L")


def test_where_the_network_finds_no_bones_the_rules_are_asked_and_it_is_said(tmp_path: Path) -> None:
    folder = save_segmenter(trained(tmp_path), tmp_path / "model", SMALL, {})
    ct, _ = phantoms.knee()
    asked = BoneConfig(segmenter=str(folder), whole_mm=20.0)
    assert shows_whole_joint(ct, asked)
    found = find_bones(ct, "ct", "R", asked)
    assert np.array_equal(found.labels.array, segment_ct_bones(ct, "R").array)
    assert [note.code for note in found.notes if note.severity == "FLAG"] == [
        "side-uncertain",
        "bones-by-rules",
    ]


def test_in_a_small_field_of_view_the_rules_are_asked(tmp_path: Path) -> None:
    ct, _ = phantoms.knee()
    narrow = ct.crop((0, 0, 0), (ct.geometry.shape[0], ct.geometry.shape[1], 50))
    asked = BoneConfig(segmenter=str(tmp_path), whole_mm=1.01 * min(narrow.geometry.spacing_mm) * 50)
    assert not shows_whole_joint(narrow, asked)
    rules = find_bones(narrow, "ct", None, BoneConfig(by="rules"))
    assert np.array_equal(find_bones(narrow, "ct", None, asked).labels.array, rules.labels.array)


@pytest.mark.slow
def test_the_femur_of_a_real_mr_holds_no_muscle() -> None:
    path = phantoms.REAL / "knee_mr_dess.nii.gz"
    if not path.is_file():
        pytest.skip("knee_mr_dess.nii.gz is not beside the repository")
    mr = read_image(path, "mr").volume
    found = find_bones(mr, "mr", "R")
    femur = mr.array[found.labels.array == 1]
    assert 150 < femur.size * mr.geometry.voxel_mm3 / 1000 < 185
    vastus_medialis = np.median(mr.array[19:27, 70:130, 130:190])
    assert (femur > 0.5 * vastus_medialis).mean() < 0.08
