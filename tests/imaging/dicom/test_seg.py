from pathlib import Path

import highdicom
import numpy as np
import pytest
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.sr.codedict import codes

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.masks import read_mask
from tests.imaging import makers
from tests.imaging.makers import OBLIQUE, grid


def segmentation(
    folder: Path, out: Path, mask: NDArray[np.bool_], segments: int = 1, *, labels: tuple[str, ...] = ()
) -> Path:
    """Write a DICOM SEG over the series in `folder`, whose files are in the order of `mask`.

    With `labels` the last axis of `mask` is theirs, else `mask` is the mask of every segment.
    """
    sources = [dcmread(file) for file in sorted(folder.iterdir())]
    described = [
        SegmentDescription(
            segment_number=n + 1,
            segment_label=label,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Femur,
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        )
        for n, label in enumerate(labels or ("femur",) * segments)
    ]
    pixels = (mask if labels else np.stack([mask] * segments, axis=-1)).astype(np.uint8)
    seg = Segmentation(
        source_images=sources,
        pixel_array=pixels if pixels.shape[-1] > 1 else pixels[..., 0],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=makers.uid(),
        series_number=2,
        sop_instance_uid=makers.uid(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="x",
        device_serial_number="x",
    )
    seg.save_as(out)
    return out


def blob() -> NDArray[np.bool_]:
    mask = np.zeros(makers.SHAPE, bool)
    mask[3:7, 4:9, 2:15] = True
    mask[6, 0, 0] = True
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_series(tmp_path / "ct", grid(OBLIQUE))


def make_series(folder: Path, geometry: Geometry) -> Path:
    """Write a series with all that a segmentation of it has to hold."""
    makers.series(folder, geometry=geometry)
    for file in folder.iterdir():
        dataset = dcmread(file)
        dataset.StudyID, dataset.StudyTime, dataset.SeriesNumber, dataset.PatientAge = (
            "1",
            "120000",
            1,
            "050Y",
        )
        dataset.PositionReferenceIndicator = ""
        dataset.save_as(file)
    return folder


def test_a_dicom_segmentation_is_read_onto_the_grid_of_its_series(folder: Path, tmp_path: Path) -> None:
    path = segmentation(folder, tmp_path / "seg.dcm", blob())
    ct = read_image(folder, "ct").volume.geometry
    np.testing.assert_array_equal(read_mask(path, ct).array, blob())


def test_a_segmentation_of_another_grid_is_refused(folder: Path, tmp_path: Path) -> None:
    path = segmentation(folder, tmp_path / "seg.dcm", blob())
    with pytest.raises(InputError, match="mask-grid"):
        read_mask(path, grid())
    with pytest.raises(InputError, match="mask-format"):
        read_mask(path)


def test_several_segments_are_refused(folder: Path, tmp_path: Path) -> None:
    path = segmentation(folder, tmp_path / "seg.dcm", blob(), segments=2)
    with pytest.raises(InputError, match=r"segments \[1, 2\]"):
        read_mask(path, read_image(folder, "ct").volume.geometry)


def test_a_series_is_no_segmentation(folder: Path) -> None:
    with pytest.raises(InputError, match="0 segmentations"):
        read_mask(folder, read_image(folder, "ct").volume.geometry)


def test_highdicom_agrees_about_the_geometry_of_a_series(folder: Path) -> None:
    volume = highdicom.get_volume_from_series([dcmread(file) for file in folder.iterdir()])
    ours = read_image(folder, "ct").volume.geometry
    corner = volume.map_indices_to_reference(np.array([[0, 0, 0], [11, 15, 19]]))
    theirs = {tuple(np.round(row, 3).tolist()) for row in corner}
    assert theirs <= {tuple(np.round(row, 3).tolist()) for row in ours.corners_lps()}
