from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.bones import BoneName
from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.alignment import AlignedCt, align_ct
from srrd_ray.synthesis.fidelity import compare_bones, compare_images
from tests.registration import phantoms

IDENTITY: dict[BoneName, np.ndarray] = {"femur": np.eye(4), "tibia": np.eye(4)}


@pytest.fixture(scope="module")
def aligned() -> AlignedCt:
    ct, labels = phantoms.knee()
    front = np.indices(ct.geometry.shape)[1] < 6
    hu = np.where(front & (labels.array == 0), np.float32(-1000), ct.array)
    return align_ct(Volume(array=hu, geometry=ct.geometry), labels, IDENTITY, ct.geometry)


def figures(aligned: AlignedCt, made: np.ndarray) -> dict[tuple[str, str], float]:
    return {(part, figure): value for part, figure, value in compare_images(aligned, made)}


def test_an_image_is_like_itself(aligned: AlignedCt) -> None:
    found = figures(aligned, aligned.hu.array)
    for part in ("field", "body", "bone", "soft", "air"):
        assert found[part, "mae_hu"] == 0.0
        assert found[part, "ssim"] == pytest.approx(1.0)
    assert found["depth 1 to 2 mm", "ct_hu"] == found["depth 1 to 2 mm", "synthetic_hu"] > 600


def test_an_error_in_one_tissue_is_that_of_its_part_alone(aligned: AlignedCt) -> None:
    found = figures(aligned, aligned.hu.array + np.where(aligned.labels > 0, np.float32(100), np.float32(0)))
    assert found["bone", "mae_hu"] == found["bone", "me_hu"] == pytest.approx(100, abs=0.1)
    assert found["bone", "psnr_db"] == pytest.approx(20 * np.log10(3000 / 100), abs=0.01)
    assert found["soft", "mae_hu"] == found["air", "mae_hu"] == 0.0
    share = (aligned.labels > 0).mean()
    assert found["field", "mae_hu"] == pytest.approx(100 * share, rel=1e-3)


def test_air_that_was_made_soft_counts_over_the_field_and_not_in_the_body(aligned: AlignedCt) -> None:
    found = figures(aligned, np.maximum(aligned.hu.array, -200))
    assert found["air", "me_hu"] == pytest.approx(800, abs=40)
    assert found["body", "mae_hu"] == 0.0 < found["field", "mae_hu"]


def test_what_the_ct_did_not_see_does_not_count(aligned: AlignedCt) -> None:
    hu = aligned.hu.array.copy()
    hu[:20] = np.nan
    part = AlignedCt(
        hu=Volume(array=hu, geometry=aligned.hu.geometry),
        labels=aligned.labels,
        outside_mm=aligned.outside_mm,
    )
    made = aligned.hu.array.copy()
    made[:20] += 500
    assert figures(part, made)["field", "mae_hu"] == 0.0


def test_bones_are_compared_by_dice_and_distance(aligned: AlignedCt) -> None:
    labels = Volume(array=aligned.labels, geometry=aligned.hu.geometry)
    same = {(part, figure): value for part, figure, value in compare_bones(aligned, labels)}
    assert same == {
        ("femur", "dice"): 1.0, ("femur", "surface_mm"): 0.0,
        ("tibia", "dice"): 1.0, ("tibia", "surface_mm"): 0.0,
    }  # fmt: skip
    lost = Volume(array=np.where(aligned.labels == 1, 1, 0).astype(np.uint8), geometry=aligned.hu.geometry)
    found = {(part, figure): value for part, figure, value in compare_bones(aligned, lost)}
    assert found["tibia", "dice"] == 0.0
    assert ("tibia", "surface_mm") not in found


def test_a_shift_of_a_flat_surface_is_its_distance() -> None:
    ct, _ = phantoms.knee()
    z = np.indices(ct.geometry.shape)[0]
    slab = Volume(array=(z < 30).astype(np.uint8) * 2, geometry=ct.geometry)
    aligned = align_ct(ct, slab, {"tibia": np.eye(4)}, ct.geometry)
    higher = Volume(array=(z < 33).astype(np.uint8) * 2, geometry=ct.geometry)
    found = {(part, figure): value for part, figure, value in compare_bones(aligned, higher)}
    assert found["tibia", "surface_mm"] == pytest.approx(3 * 0.8, abs=1e-3)
