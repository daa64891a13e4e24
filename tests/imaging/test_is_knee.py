"""Fault 25 by what the voxels say: legs, shafts, hands and trunks drawn in Hounsfield units, and the real CT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.is_knee import check_anatomy, check_knee, measure_sections
from srrd_ray.imaging.source import ReadRules
from tests.imaging import makers

SHAPE, STEP = (50, 90, 90), 1.5
Mask = NDArray[np.bool_]


def places() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return z, y, x in mm about the middle."""
    z, y, x = (np.asarray((np.arange(n) - (n - 1) / 2) * STEP, dtype=np.float64) for n in SHAPE)
    return z[:, None, None], y[None, :, None], x[None, None, :]


def ellipse(
    width_mm: float | NDArray[np.float64],
    depth_mm: float | NDArray[np.float64],
    at: tuple[float, float] = (0, 0),
) -> Mask:
    """Return a column across all planes, of full `width_mm` (x) and `depth_mm` (y), about `at` (y, x)."""
    z, y, x = places()
    inside: Mask = ((x - at[1]) / (width_mm / 2)) ** 2 + ((y - at[0]) / (depth_mm / 2)) ** 2 + 0 * z < 1
    return inside


def drawn(outer: Mask, inner: Mask, *, body_mm: float = 120.0, spongy: float = 150.0) -> Volume[np.int16]:
    """Return a limb of soft tissue with cortex where `outer` is and `inner` is not."""
    values = np.full(SHAPE, -1000, np.int16)
    values[ellipse(body_mm, body_mm)] = 50
    values[outer] = 900
    values[inner] = spongy
    values = values + np.random.default_rng(3).normal(0, 25, SHAPE).astype(np.int16)
    return Volume(array=values, geometry=Geometry.axis_aligned(SHAPE, (STEP,) * 3))


def knee(spongy: float = 150.0) -> Volume[np.int16]:
    """Return condyles over a plateau that narrow to shafts, cortex 2 mm thick; sparse bone is darker than muscle."""
    z, _, _ = places()
    width = np.where(np.abs(z) < 2, 0.001, np.maximum(76 - 1.6 * np.maximum(np.abs(z) - 12, 0), 30))
    return drawn(ellipse(width, 0.7 * width), ellipse(width - 4, 0.7 * width - 4), spongy=spongy)


def shaft() -> Volume[np.int16]:
    """Return one round bone 30 mm wide."""
    return drawn(ellipse(30, 30), ellipse(18, 18), spongy=-60)


def hand() -> Volume[np.int16]:
    """Return five metacarpals side by side."""
    rods = [ellipse(12, 12, (0, 20.0 * n)) for n in range(-2, 3)]
    return drawn(np.logical_or.reduce(rods), np.zeros(SHAPE, np.bool_))


def trunk() -> Volume[np.int16]:
    """Return a spine in a trunk 330 mm wide."""
    small = drawn(ellipse(16, 14), ellipse(14, 12), body_mm=110)
    return Volume(array=small.array, geometry=Geometry.axis_aligned(SHAPE, (STEP, 3 * STEP, 3 * STEP)))


def refused(ct: Volume[np.int16]) -> str:
    with pytest.raises(InputError) as caught:
        check_knee(ct, "ct", ReadRules())
    assert caught.value.code == "not-a-knee"
    return str(caught.value)


@pytest.mark.parametrize("spongy", [250, 150, 0, -60])
def test_25_a_knee_passes_however_sparse_its_bone(spongy: float) -> None:
    assert check_knee(knee(spongy), "ct", ReadRules()) == ()


def test_25_a_knee_passes_in_every_orientation_of_its_planes() -> None:
    ct = knee()
    turned = ct.geometry.affine[:, [2, 0, 1, 3]]
    sagittal = Volume(
        array=np.ascontiguousarray(ct.array.transpose(1, 2, 0)),
        geometry=Geometry.from_affine((SHAPE[1], SHAPE[2], SHAPE[0]), turned),
    )
    assert measure_sections(sagittal) == measure_sections(ct)


def test_25_a_shaft_is_refused_as_no_bone_is_wide_enough() -> None:
    text = refused(shaft())
    assert "widest section of bone 7 cm2, 1 bones" in text
    assert "12 cm2 or more" in text
    assert "not_a_knee to flag" in text


def test_25_a_hand_is_refused_with_its_count_of_bones() -> None:
    assert "widest section of bone 1 cm2, 5 bones" in refused(hand())


def test_25_a_spine_is_refused_by_the_trunk_around_it() -> None:
    assert "a trunk, not a leg" in refused(trunk())


def test_25_what_may_be_a_phantom_beside_a_knee_is_flagged() -> None:
    ct = knee()
    for n in range(-2, 3):
        ct.array[ellipse(12, 12, (50, 20.0 * n))] = 400
    notes = check_knee(ct, "ct", ReadRules())
    assert [(note.severity, note.code) for note in notes] == [("FLAG", "knee-doubtful")]
    assert "more bones than a knee has" in notes[0].message


def test_46_metal_is_flagged_with_its_size_also_in_a_small_field_of_view() -> None:
    ct = knee().crop((0, 20, 20), (50, 50, 50))
    assert check_anatomy(ct, "ct", "ct", ReadRules()) == ()
    ct.array[10:20, 10:14, 10:12] = 3071
    notes = check_anatomy(ct, "ct", "ct", ReadRules())
    assert [(note.severity, note.code) for note in notes] == [("FLAG", "ct-metal")]
    assert "0.27 cm3 at 2800 HU or more" in notes[0].message


def test_25_a_field_of_view_too_small_to_tell_is_not_judged() -> None:
    ct = shaft()
    for part in (ct.crop((0, 20, 20), (50, 50, 50)), ct.crop((0, 0, 0), (15, 90, 90))):
        assert check_anatomy(part, "ct", "ct", ReadRules()) == ()


def test_25_the_reader_refuses_or_flags_a_shaft_as_the_rules_say(tmp_path: Path) -> None:
    path = makers.nifti(tmp_path / "ct.nii.gz", shaft().array.T, np.diag([-STEP, -STEP, STEP, 1.0]))
    with pytest.raises(InputError, match="not-a-knee"):
        read_image(path, "ct")
    notes = read_image(path, "ct", rules=ReadRules(not_a_knee="flag")).notes
    assert [(note.severity, note.code) for note in notes] == [("FLAG", "knee-doubtful")]


def test_25_a_ct_given_as_mr_is_refused_by_its_air(tmp_path: Path) -> None:
    path = makers.nifti(tmp_path / "mr.nii.gz", knee().array.T, np.diag([-STEP, -STEP, STEP, 1.0]))
    with pytest.raises(InputError, match=r"wrong-modality.*of the voxels at -500 or less"):
        read_image(path, "mr")


def test_25_an_mr_or_unscaled_ct_given_as_ct_is_refused_as_no_value_is_below_0(tmp_path: Path) -> None:
    values = np.maximum(knee().array.T + 1024, 0).astype(np.int16)
    path = makers.nifti(tmp_path / "ct.nii.gz", values, np.diag([-STEP, -STEP, STEP, 1.0]))
    with pytest.raises(InputError, match=r"wrong-modality.*no Hounsfield units"):
        read_image(path, "ct")
    assert read_image(path, "mr").notes == ()


def test_25_an_mr_normalised_about_0_passes(tmp_path: Path) -> None:
    values = (knee().array.T / 400.0).astype(np.float32)
    read_image(makers.nifti(tmp_path / "mr.nii.gz", values, np.diag([-STEP, -STEP, STEP, 1.0])), "mr")


def test_25_the_shafts_of_the_real_ct_are_refused_and_its_knee_passes(real_data: Path) -> None:
    ct = read_image(real_data / "knee_ct_1mm.nii.gz", "ct").volume
    assert check_knee(ct, "ct", ReadRules()) == ()
    below = ct.crop((0, 0, 0), (40, *ct.array.shape[1:]))
    with pytest.raises(InputError, match="2 bones in the median plane"):
        check_knee(below, "ct", ReadRules())


@pytest.mark.parametrize(
    ("slope", "offset", "said"),
    [
        (1.0, 0.0, ()),
        (1.0, 20.0, ()),
        (1.0, 100.0, ("fat at 5", "air at -863")),
        (1.0, -100.0, ("fat at -195",)),
        (0.5, 0.0, ("air at -482",)),
    ],
)
def test_a_real_ct_off_the_scale_of_hounsfield_is_flagged(
    real_data: Path, slope: float, offset: float, said: tuple[str, ...]
) -> None:
    real = read_image(real_data / "knee_ct_1mm.nii.gz", "ct").volume
    off = Volume(array=(real.array * slope + offset).astype(np.float32), geometry=real.geometry)
    notes = [note for note in check_knee(off, "ct", ReadRules(not_a_knee="flag")) if note.code == "ct-scale"]
    assert [note.severity for note in notes] == ["FLAG"] * bool(said)
    assert all(words in note.message for note in notes for words in said)


def test_no_fat_and_no_air_is_no_doubt_of_the_scale() -> None:
    assert [note.code for note in check_knee(knee(), "ct", ReadRules(not_a_knee="flag"))] == []
