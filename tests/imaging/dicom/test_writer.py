from pathlib import Path

import numpy as np
import pytest
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map
from pydicom import dcmread
from pydicom.dataset import FileDataset

from srrd_ray.core.records import Modality
from srrd_ray.imaging.dicom.writer import (
    SeriesHeader,
    StoredPixels,
    make_uid,
    to_decimal_string,
    write_series,
)
from srrd_ray.imaging.images import read_image
from srrd_ray.storage.file_hash import hash_file
from tests.imaging.makers import OBLIQUE, SHAPE, grid

STORED = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)


def header(modality: Modality, **changes: object) -> SeriesHeader:
    values: dict[str, object] = {
        "modality": modality,
        "patient": "sub-A1",
        "side": "L",
        "image_type": ("ORIGINAL", "PRIMARY", "AXIAL" if modality == "ct" else "OTHER"),
        "description": "test",
        "study": ("a", "study"),
        "frame": ("a", "frame"),
        "series": ("a", modality),
    }
    return SeriesHeader(**(values | changes))  # type: ignore[arg-type]  # the fields of a header, some replaced


def first(folder: Path) -> FileDataset:
    return dcmread(sorted(folder.iterdir())[0])


@pytest.mark.parametrize(("modality", "iod"), [("ct", "ct-image"), ("mr", "mr-image")])
def test_every_attribute_that_the_standard_demands_is_there(
    modality: Modality, iod: str, tmp_path: Path
) -> None:
    image = first(write_series(tmp_path / "s", header(modality), StoredPixels(values=STORED), grid(OBLIQUE)))
    for module in get_iod_module_map()[iod]:
        if module["usage"] != "M":
            continue
        for attribute in get_module_attribute_map()[module["key"]]:
            keyword, kind = attribute["keyword"], attribute["type"]
            if not attribute["path"] and kind in ("1", "2"):
                assert keyword in image, f"{module['key']} demands {keyword}"
            if not attribute["path"] and kind == "1":
                assert image[keyword].value not in (None, ""), keyword


def test_a_series_read_back_is_the_volume_in_its_place(tmp_path: Path) -> None:
    pixels = StoredPixels(values=STORED, bits=12, intercept=-1024.0)
    back = read_image(write_series(tmp_path / "s", header("ct"), pixels, grid(OBLIQUE)), "ct", side="L")
    np.testing.assert_array_equal(back.volume.array, STORED.astype(np.int32) - 1024)
    assert back.volume.geometry.matches(grid(OBLIQUE), tolerance_mm=1e-9)
    assert back.notes == ()


def test_the_same_volume_has_the_same_bytes_and_another_series_has_no_uid_of_it(tmp_path: Path) -> None:
    for name, series in (("a", "x"), ("b", "x"), ("c", "y")):
        write_series(tmp_path / name, header("mr", series=(series,)), StoredPixels(values=STORED), grid())
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b")
    uids = [{dcmread(f).SOPInstanceUID for f in (tmp_path / name).iterdir()} for name in "ac"]
    assert len(uids[0]) == SHAPE[0]
    assert not uids[0] & uids[1]


def test_magnitudes_of_mr_are_stored_without_a_scale(tmp_path: Path) -> None:
    image = first(write_series(tmp_path / "s", header("mr"), StoredPixels(values=STORED), grid()))
    assert "RescaleSlope" not in image
    assert image.PixelRepresentation == 0


def test_technique_is_written_in_the_form_of_its_tags(tmp_path: Path) -> None:
    technique = {"KVP": 120.0, "SliceThickness": 0.75, "ConvolutionKernel": "BONE", "AcquisitionNumber": 1}
    image = first(
        write_series(tmp_path / "s", header("ct", technique=technique), StoredPixels(values=STORED), grid())
    )
    assert (image["KVP"].VR, image.KVP, image.SliceThickness) == ("DS", 120, 0.75)
    assert (image.ConvolutionKernel, image["AcquisitionNumber"].VR) == ("BONE", "IS")


@pytest.mark.parametrize("value", [-1 / 3, 1e-17 / 3, -123456.7890123456, 0.2188, -0.0])
def test_decimal_strings_fit_their_sixteen_characters(value: float) -> None:
    assert len(to_decimal_string(value)) <= 16
    assert float(to_decimal_string(value)) == pytest.approx(value, rel=1e-8, abs=1e-20)


def test_uids_follow_from_words_alone() -> None:
    assert make_uid("a", "b") == make_uid("a", "b")
    assert make_uid("a", "b") != make_uid("b", "a")
    assert make_uid("a").is_valid
