from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.errors import InputError, NotEstimableError
from srrd_ray.morphometry.calibration import ct_bone, ct_bone_fraction
from tests.morphometry import shapes

SPACING = (0.8, 0.4, 0.4)
MINERAL, MARROW = 1600.0, -40.0
SHAPE = (40, 64, 64)


def phantom(noise: float = 30.0) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """A block of trabecular bone seen by a CT: fraction, PSF, noise; 4 mm of soft tissue round it."""
    fine = shapes.gaussian_field((80, 96, 96), sigma=1.6, bvtv=0.2, seed=5).astype(np.float64)
    seen = ndimage.zoom(ndimage.gaussian_filter(fine, 0.8), (0.5, 2 / 3, 2 / 3), order=1)
    fraction = seen[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside = np.zeros(SHAPE, bool)
    inside[4:-4, 8:-8, 8:-8] = True
    hu = np.where(inside, MARROW + fraction * (MINERAL - MARROW), 40.0)
    rng = np.random.default_rng(2)
    return (hu + noise * rng.standard_normal(SHAPE)).astype(np.float32), inside, fraction


def test_two_references_give_back_the_fraction() -> None:
    ct, inside, fraction = phantom(noise=0.0)
    found = ct_bone_fraction(ct, inside, SPACING, mineral_hu=MINERAL, marrow_hu=MARROW)
    np.testing.assert_allclose(found[inside], fraction[inside], atol=1e-5)
    assert not found[~inside].any()


def test_noise_does_not_move_the_mean() -> None:
    ct, inside, fraction = phantom(noise=60.0)
    found = ct_bone_fraction(ct, inside, SPACING, mineral_hu=MINERAL, marrow_hu=MARROW)
    assert found[inside].mean() == pytest.approx(fraction[inside].mean(), abs=0.002)
    assert found[inside].min() < 0


@pytest.mark.parametrize("shift", [-60.0, 0.0, 60.0])
def test_the_marrow_reference_is_found_in_the_image(shift: float) -> None:
    ct, inside, fraction = phantom()
    found = ct_bone_fraction(ct + np.float32(shift), inside, SPACING, mineral_hu=MINERAL + shift)
    assert found[inside].mean() == pytest.approx(fraction[inside].mean(), abs=0.03)


def test_a_threshold_keeps_what_is_denser_inside_the_bone() -> None:
    ct, inside, _ = phantom()
    found = ct_bone(ct, inside, 300.0)
    assert found.any()
    assert (ct[found] > 300).all()
    assert not found[~inside].any()


def test_marrow_denser_than_mineral_is_refused() -> None:
    ct, inside, _ = phantom()
    with pytest.raises(InputError, match="references-equal"):
        ct_bone_fraction(ct, inside, SPACING, marrow_hu=1700.0)


def test_a_bone_too_small_for_a_reference_says_so() -> None:
    ct, inside, _ = phantom()
    inside[:, :30] = False
    inside[:, 34:] = False
    with pytest.raises(NotEstimableError, match="marrow-unknown"):
        ct_bone_fraction(ct, inside, SPACING)
