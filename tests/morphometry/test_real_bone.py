from __future__ import annotations

import nibabel as nib
import nrrd
import numpy as np
import pytest

from srrd_ray.morphometry import local_thickness, measure
from tests.morphometry.shapes import DATA

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the real images are not here")
SHREW = DATA / "trabecular_shrew_binary.nrrd"


def test_the_shrew_bone_has_its_published_numbers() -> None:
    """Its page counted in float mm, where about half of the ties `|x - c| = D` are lost to rounding: 0.061306 and 0.164177."""
    bone = nrrd.read(str(SHREW), index_order="C")[0] > 127
    found = measure(bone, None, 0.0041)
    assert (found.status, found.euler) == ("ok", -19)
    assert found.bvtv == pytest.approx(0.293492, abs=5e-7)
    assert found.tb_th_mm == pytest.approx(0.0614101, abs=1e-6)
    assert found.tb_sp_mm == pytest.approx(0.1642616, abs=1e-6)
    assert found.tb_th_mm == pytest.approx(0.061306, rel=2e-3)
    assert found.tb_sp_mm == pytest.approx(0.164177, rel=2e-3)


def test_the_shrew_bone_reads_in_bonej_mode_what_bonej_reads() -> None:
    bone = nrrd.read(str(SHREW), index_order="C")[0] > 127
    assert local_thickness(bone, 0.0041, mode="bonej")[bone].mean() == pytest.approx(0.0619, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_cube_of_each_vertebra_has_every_measure(number: int) -> None:
    bone = nrrd.read(str(DATA / f"trabecular_vertebra_binary_{number}.nrrd"), index_order="C")[0] > 0
    near = bone[100:220, 100:220, 100:220]
    found = measure(near, None, 1.0)
    assert found.status == "ok"
    values = (
        found.bvtv,
        found.tb_th_mm,
        found.tb_sp_mm,
        found.tb_n_per_mm,
        found.conn_d_per_mm3,
        found.da,
        found.smi,
    )
    assert all(value is not None and np.isfinite(value) for value in values)
    assert found.bvtv == near.mean()


@pytest.mark.slow
def test_a_cube_of_the_tibia_has_the_measures_of_dense_human_bone() -> None:
    image = np.asarray(nib.load(DATA / "trabecular_tibia_microct.nii.gz").dataobj)[60:188, 60:188, 60:188]
    found = measure(image > 75.8765563570748, None, 0.0195)
    assert found.status == "ok"
    assert found.tb_th_mm == pytest.approx(0.22, abs=0.04)
    assert found.da is not None
    assert 0.5 < found.da < 0.95
    bone = (image > 75.8765563570748).astype(np.int8)
    across, _, along = (np.count_nonzero(np.diff(bone, axis=axis)) for axis in range(3))
    assert across > 2.5 * along  # oriented along x: no artefact of the fit
