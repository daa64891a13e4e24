"""What a reference implementation writes is read with its values in its places: nibabel, pynrrd and SimpleITK, any grid and type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_header, read_image
from tests.grids import geometries

Values = NDArray[np.generic]
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From LPS to RAS and back."""


def by_nibabel(path: Path, values: Values, geometry: Geometry) -> None:
    image = nib.Nifti1Image(values.T, RAS @ geometry.affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def by_pynrrd(path: Path, values: Values, geometry: Geometry) -> None:
    header = {
        "space": "left-posterior-superior",
        "space directions": geometry.affine[:3, :3].T,
        "space origin": geometry.affine[:3, 3],
    }
    nrrd.write(str(path), values.T, header)


def by_simpleitk(path: Path, values: Values, geometry: Geometry) -> None:
    spacing = np.array(geometry.spacing_mm[::-1])
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(geometry.affine[:3, 3].tolist())
    image.SetDirection((geometry.affine[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path))


WRITERS: dict[str, Callable[[Path, Values, Geometry], None]] = {
    "a.nii": by_nibabel,
    "a.nii.gz": by_nibabel,
    "a.nrrd": by_pynrrd,
    "b.nrrd": by_simpleitk,
    "a.mha": by_simpleitk,
}
sides = st.tuples(*[st.integers(2, 7)] * 3)
types = st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8"])


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25)
@given(geometry=geometries(sides), dtype=types, seed=st.integers(0, 2**32 - 1))
def test_what_a_reference_writes_is_read_in_its_place(
    name: str, geometry: Geometry, dtype: str, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 120, geometry.shape).astype(dtype)
    values.flat[:2] = 0, 1  # an image that is the same everywhere is refused
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        WRITERS[name](path, values, geometry)
        image, header = read_image(path), read_header(path)
    assert np.array_equal(image.volume.array, values)
    assert header.geometry == image.volume.geometry
    assert image.volume.geometry.matches(geometry, tolerance_mm=2e-3), "NIfTI keeps float32: 1e-5 of 400 mm"


@settings(max_examples=25)
@given(
    geometry=geometries(sides),
    slope=st.floats(0.01, 10),
    inter=st.floats(-2000, 2000),
    seed=st.integers(0, 2**32 - 1),
)
def test_scaled_nifti_has_the_values_that_nibabel_gives(
    geometry: Geometry, slope: float, inter: float, seed: int
) -> None:
    stored = np.random.default_rng(seed).integers(-100, 100, geometry.shape).astype(np.int16)
    stored.flat[:2] = 0, 1
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii"
        image = nib.Nifti1Image(stored.T, RAS @ geometry.affine)
        image.header.set_xyzt_units("mm")
        image.header.set_slope_inter(slope, inter)
        nib.save(image, path)
        expected = np.asarray(nib.load(path).dataobj).T
        found = read_image(path).volume.array
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
