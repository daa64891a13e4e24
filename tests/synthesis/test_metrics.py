from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.metrics import compare
from tests.registration import phantoms


def test_a_constant_offset_is_the_mean_absolute_error_and_the_psnr_follows() -> None:
    ct, labels = phantoms.knee()
    other = Volume(array=ct.array + 50.0, geometry=ct.geometry)
    found = compare(ct, other, labels.array == 1, np.eye(4))
    assert found.mae_hu == pytest.approx(50.0, abs=0.5)
    assert found.psnr_db == pytest.approx(20 * np.log10(2000 / 50), abs=0.1)
    assert found.ssim > 0.9
