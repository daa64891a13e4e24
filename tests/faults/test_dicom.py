"""Faults 1 to 28 of DICOM input, each made for real."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import MPEG2MPML, UID, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_header, read_image
from srrd_ray.imaging.source import ReadRules, SourceImage
from tests.imaging import makers
from tests.imaging.makers import AXIAL, MR, OBLIQUE, PLANTED, assert_in_place, grid, series


def refused(folder: Path, code: str, rules: ReadRules | None = None, side: str | None = None) -> str:
    """Return the message of the refusal, which carries nothing of the patient."""
    with pytest.raises(InputError) as caught:
        read_image(
            folder, "ct", rules=rules or ReadRules(), side="L" if side == "L" else "R" if side else None
        )
    assert caught.value.code == code
    text = str(caught.value)
    assert not [planted for planted in PLANTED if planted in text]
    assert str(folder.parent) not in text
    return text


def noted(image: SourceImage, code: str, severity: str) -> str:
    """Return the one note of `code`, which has `severity` and carries nothing of the patient."""
    note = next(note for note in image.notes if note.code == code)
    assert note.severity == severity
    assert not [planted for planted in PLANTED if planted in str(note)]
    return note.message


def put(tag: str, value: object, only: Callable[[int], bool] = lambda _: True) -> makers.Edit:
    return lambda k, dataset: setattr(dataset, tag, value) if only(k) else None


def drop(tag: str) -> makers.Edit:
    return lambda k, dataset: delattr(dataset, tag) if k == 4 else None


def test_a_sound_series_is_read_in_place_with_nothing_to_note(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    image = read_image(tmp_path / "ct", "ct")
    assert image.notes == ()
    assert image.unit == "HU"
    assert image.volume.geometry.matches(grid())
    assert_in_place(image.volume)


def test_01_files_that_are_not_dicom_are_ignored_and_counted(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    (tmp_path / "ct" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    (tmp_path / "ct" / "readme.txt").write_text(makers.NAME)
    assert "2 × not DICOM" in noted(read_image(tmp_path / "ct", "ct"), "dicom-ignored", "INFO")


def test_02_an_empty_dicom_file_is_refused(tmp_path: Path) -> None:
    files = series(tmp_path / "ct")
    files[3].write_bytes(b"")
    assert "IM0003_1.dcm: got 0 bytes" in refused(tmp_path / "ct", "dicom-truncated")


@pytest.mark.parametrize("cut", [1, 300, 639])
def test_02_pixels_cut_short_are_refused_naming_file_and_bytes(tmp_path: Path, cut: int) -> None:
    files = series(tmp_path / "ct")
    files[3].write_bytes(files[3].read_bytes()[:-cut])
    assert f"IM0003_1.dcm: got {640 - cut} bytes of pixels, expected 640 bytes" in refused(
        tmp_path / "ct", "dicom-truncated"
    )


def test_02_a_header_cut_short_is_refused_or_set_aside_and_never_read(tmp_path: Path) -> None:
    files = series(tmp_path / "ct")
    whole = files[3].read_bytes()
    for size in range(1, 1200, 90):
        files[3].write_bytes(whole[:size])
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / "ct", "ct")
        assert caught.value.code in {"dicom-truncated", "dicom-gap", "dicom-tag-missing", "dicom-header"}


def test_03_a_missing_slice_is_a_gap_named_by_size_and_place(tmp_path: Path) -> None:
    series(tmp_path / "ct")[5].unlink()
    assert "gap of 2.5 mm after slice 5 of 11 (expected 1.25)" in refused(tmp_path / "ct", "dicom-gap")


def test_03_a_missing_slice_is_interpolated_only_when_configured(tmp_path: Path) -> None:
    series(tmp_path / "ct")[5].unlink()
    image = read_image(tmp_path / "ct", "ct", rules=ReadRules(irregular_spacing="resample"))
    assert "resampled" in noted(image, "dicom-spacing-irregular", "FIX")
    assert image.volume.geometry.matches(grid())
    assert_in_place(image.volume, tolerance=1.01)


def test_04_a_second_slice_at_one_position_is_dropped_if_identical(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    extra = dcmread(tmp_path / "ct" / "IM0004_1.dcm")
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = makers.uid()
    extra.save_as(tmp_path / "ct" / "IM9999.dcm")
    image = read_image(tmp_path / "ct", "ct")
    assert "1 identical" in noted(image, "dicom-duplicate-position", "FIX")
    assert_in_place(image.volume)


def test_04_two_different_slices_at_one_position_are_refused_naming_both(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    extra = dcmread(tmp_path / "ct" / "IM0004_1.dcm")
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = makers.uid()
    extra.PixelData = bytes(640)
    extra.save_as(tmp_path / "ct" / "IM9999.dcm")
    text = refused(tmp_path / "ct", "dicom-duplicate-position")
    assert "IM0004_1.dcm and IM9999.dcm" in text


def test_04_two_acquisitions_at_the_same_positions_are_named(tmp_path: Path) -> None:
    series(tmp_path / "ct", edit=numbered("1"))
    series(tmp_path / "more", edit=numbered("2"))
    for file in (tmp_path / "more").iterdir():
        extra = dcmread(file)
        extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = makers.uid()
        extra.PixelData = bytes(640)
        extra.save_as(tmp_path / "ct" / f"B{file.name}")
    text = refused(tmp_path / "ct", "dicom-duplicate-position")
    assert "of acquisitions" in text
    assert "Leave the files of one AcquisitionNumber" in text


def numbered(acquisition: str) -> Callable[[int, Dataset], None]:
    return lambda _, dataset: setattr(dataset, "AcquisitionNumber", acquisition)


@pytest.mark.parametrize("name", ["A.dcm", "Z.dcm"])
def test_07_a_localizer_in_a_series_falls_away_wherever_it_stands(tmp_path: Path, name: str) -> None:
    files = series(tmp_path / "ct")
    extra = dcmread(files[0])
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = makers.uid()
    extra.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    extra.ImagePositionPatient = [0, 0, 400]
    extra.save_as(tmp_path / "ct" / name)
    assert_in_place(read_image(tmp_path / "ct", "ct").volume)


def test_05_a_second_copy_of_an_instance_is_dropped_and_counted(tmp_path: Path) -> None:
    files = series(tmp_path / "ct")
    (tmp_path / "ct" / "IM9999.dcm").write_bytes(files[2].read_bytes())
    assert "1 second copies" in noted(read_image(tmp_path / "ct", "ct"), "dicom-copy", "FIX")


def test_06_of_several_series_the_thinnest_original_is_chosen_and_named(tmp_path: Path) -> None:
    series(tmp_path / "ct", uid="1", edit=put("SliceThickness", "3"))
    series(tmp_path / "ct", uid="2", edit=put("ConvolutionKernel", "B70s"))
    series(tmp_path / "ct", uid="3", edit=put("ImageType", ["DERIVED", "SECONDARY", "MPR"]))
    image = read_image(tmp_path / "ct", "ct")
    assert "1 of 3 stacks chosen: ct, 12 slices, 1.25 mm, B70s" in noted(image, "dicom-series-chosen", "FIX")


def test_06_two_series_that_fit_equally_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "ct", uid="1")
    series(tmp_path / "ct", uid="2")
    assert "12 slices, 1.25 mm, B30f; ct, 12 slices" in refused(tmp_path / "ct", "dicom-series-tie")


def test_06_images_of_two_patients_in_one_folder_are_refused_and_neither_is_chosen(tmp_path: Path) -> None:
    series(tmp_path / "ct", uid="1", edit=put("SliceThickness", "3"))
    series(tmp_path / "ct", uid="2", edit=put("PatientID", "another"))
    text = refused(tmp_path / "ct", "dicom-patients")
    assert "2 PatientIDs" in text
    assert "another" not in text
    series(tmp_path / "unnamed", uid="1", edit=put("SliceThickness", "3"))
    series(tmp_path / "unnamed", uid="2", edit=put("PatientID", ""))
    noted(read_image(tmp_path / "unnamed", "ct"), "dicom-series-chosen", "FIX")


def test_07_a_localiser_inside_the_series_falls_away_by_its_orientation(tmp_path: Path) -> None:
    sagittal = [0, 1, 0, 0, 0, -1]
    series(tmp_path / "ct", edit=put("ImageOrientationPatient", sagittal, lambda k: k == 0))
    image = read_image(tmp_path / "ct", "ct")
    assert image.volume.geometry.shape[0] == 11
    assert "1 of 2 stacks" in noted(image, "dicom-series-chosen", "FIX")


def tilted(degrees: float) -> Geometry:
    affine = grid().affine
    affine[1, 2] = np.tan(np.radians(degrees)) * makers.SPACING[0]
    return Geometry.from_affine(makers.SHAPE, affine)


def test_08_gantry_tilt_is_resampled_in_place_and_recorded(tmp_path: Path) -> None:
    series(tmp_path / "ct", geometry=tilted(15))
    image = read_image(tmp_path / "ct", "ct")
    assert "15.00 degrees" in noted(image, "dicom-gantry-tilt", "FIX")
    axes = image.volume.geometry.affine[:3, :3]
    assert abs(axes[:, 1] @ axes[:, 2]) < 1e-6
    inside = image.volume.array > -900
    index = np.argwhere(inside)
    expected = makers.signal(image.volume.geometry.index_to_lps(index))
    close = np.abs(image.volume.array[inside] - expected) < 1.0
    assert close.mean() > 0.85
    assert image.volume.geometry == read_header(tmp_path / "ct", "ct").geometry


def test_08_gantry_tilt_is_refused_in_strict_mode(tmp_path: Path) -> None:
    series(tmp_path / "ct", geometry=tilted(15))
    assert "15.00 degrees" in refused(tmp_path / "ct", "dicom-gantry-tilt", ReadRules(gantry_tilt="refuse"))


def test_09_an_oblique_acquisition_keeps_its_affine_exactly(tmp_path: Path) -> None:
    series(tmp_path / "ct", geometry=grid(OBLIQUE))
    image = read_image(tmp_path / "ct", "ct")
    np.testing.assert_allclose(image.volume.geometry.affine, grid(OBLIQUE).affine, atol=1e-6)
    assert_in_place(image.volume)


def test_10_irregular_spacing_is_refused_with_the_gaps(tmp_path: Path) -> None:
    def move(k: int, dataset: Dataset) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) + (0.4 if k in (4, 9) else 0)]

    series(tmp_path / "ct", edit=move)
    text = refused(tmp_path / "ct", "dicom-spacing-irregular")
    assert "1.65 after 4, 0.85 after 5, 1.65 after 9, 0.85 after 10" in text


def test_11_jitter_below_one_percent_is_accepted_and_recorded(tmp_path: Path) -> None:
    def move(k: int, dataset: Dataset) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) + (0.004 if k == 5 else 0)]

    series(tmp_path / "ct", edit=move)
    assert "0.32 %" in noted(read_image(tmp_path / "ct", "ct"), "dicom-jitter", "INFO")


def test_12_slices_are_ordered_by_position_whatever_names_and_numbers_say(tmp_path: Path) -> None:
    def renumber(k: int, dataset: Dataset) -> None:
        dataset.InstanceNumber = 100 - k

    files = series(tmp_path / "ct", edit=renumber)
    for k, file in enumerate(files):
        file.rename(file.with_name(f"IM{(7 * k) % 12:02d}.dcm"))
    image = read_image(tmp_path / "ct", "ct")
    assert image.volume.geometry.matches(grid())
    assert_in_place(image.volume)


@pytest.mark.parametrize(
    "orientation",
    [
        AXIAL,
        (-1, 0, 0, 0, -1, 0),
        (1, 0, 0, 0, -1, 0),
        (-1, 0, 0, 0, 1, 0),
        (0, 1, 0, 0, 0, -1),
        (1, 0, 0, 0, 0, -1),
    ],
)
def test_13_reversed_prone_and_feet_first_headers_give_the_same_anatomy(
    tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    series(tmp_path / "ct", geometry=grid(orientation, first=(5.0, -6.0, 7.0)))
    image = read_image(tmp_path / "ct", "ct")
    assert_in_place(image.volume)
    assert np.linalg.det(image.volume.geometry.affine[:3, :3]) > 0


def test_13_a_mirrored_header_with_mirrored_voxels_gives_the_identical_volume(tmp_path: Path) -> None:
    series(tmp_path / "a")
    affine = grid().affine
    affine[:3, 3] = grid().index_to_lps((0, 0, makers.SHAPE[2] - 1))
    affine[:3, 0] *= -1
    mirrored = Geometry.from_affine(makers.SHAPE, affine)
    series(tmp_path / "b", geometry=mirrored, values=makers.voxels(grid())[:, :, ::-1])
    a, b = (read_image(tmp_path / name, "ct").volume for name in "ab")
    points = grid().index_to_lps(np.moveaxis(np.indices(makers.SHAPE), 0, -1))
    np.testing.assert_array_equal(np.rint(a.at(points)), np.rint(b.at(points)))


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_14_a_missing_tag_is_refused_by_name(tmp_path: Path, tag: str) -> None:
    series(
        tmp_path / "ct", edit=drop(tag) if tag != "ImageOrientationPatient" else lambda _, d: delattr(d, tag)
    )
    assert tag in refused(tmp_path / "ct", "dicom-tag-missing")


def test_123_a_mosaic_is_refused_with_what_converts_it(tmp_path: Path) -> None:
    series(tmp_path / "mr", edit=put("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]))
    assert "dcm2niix" in refused(tmp_path / "mr", "dicom-mosaic")


@pytest.mark.parametrize("spacing", [["0", "0.5"], ["-0.5", "0.5"], ["11", "11"], ["NaN", "NaN"]])
def test_15_a_senseless_pixel_spacing_is_refused(tmp_path: Path, spacing: list[str]) -> None:
    series(tmp_path / "ct", edit=put("PixelSpacing", spacing))
    assert spacing[0].lstrip("-").lower() in refused(tmp_path / "ct", "spacing-invalid")


def test_15_slices_more_than_ten_millimetres_apart_are_refused(tmp_path: Path) -> None:
    def spread(k: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, 12 * k]

    series(tmp_path / "ct", edit=spread)
    assert "got (12.0, 0.5, 0.75) mm" in refused(tmp_path / "ct", "spacing-invalid")


@pytest.mark.parametrize("count", [1, 7])
def test_16_too_few_slices_are_refused_and_no_spacing_is_invented(tmp_path: Path, count: int) -> None:
    series(tmp_path / "ct", values=makers.voxels(grid())[:count])
    assert f"stacks of [{count}] slices" in refused(tmp_path / "ct", "dicom-too-few-slices")


def test_17_a_slice_of_another_matrix_is_refused_by_name(tmp_path: Path) -> None:
    def shrink(k: int, dataset: Dataset) -> None:
        if k == 6:
            makers.put_pixels(dataset, np.zeros((16, 18), np.int16))

    series(tmp_path / "ct", edit=shrink)
    assert "IM0006_1.dcm: (16, 18)" in refused(tmp_path / "ct", "dicom-mixed-slices")


def test_17_a_slice_of_another_spacing_is_refused_by_name(tmp_path: Path) -> None:
    series(tmp_path / "ct", edit=put("PixelSpacing", ["0.6", "0.75"], lambda k: k == 6))
    assert "IM0006_1.dcm" in refused(tmp_path / "ct", "dicom-mixed-slices")


@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
def test_18_ct_without_rescale_is_refused(tmp_path: Path, tag: str) -> None:
    series(tmp_path / "ct", edit=drop(tag))
    assert "Hounsfield units are unknown" in refused(tmp_path / "ct", "dicom-no-rescale")


def test_18_rescale_that_differs_is_applied_slice_by_slice(tmp_path: Path) -> None:
    stored = makers.voxels(grid()) + (1000 * np.arange(12)[:, None, None] % 3000).astype(np.int16)

    def shift(k: int, dataset: Dataset) -> None:
        dataset.RescaleIntercept = str(-(1000 * k % 3000))

    series(tmp_path / "ct", values=stored, edit=shift)
    image = read_image(tmp_path / "ct", "ct")
    assert_in_place(image.volume)
    noted(image, "dicom-rescale", "INFO")


def test_19_padding_becomes_air_and_is_counted(tmp_path: Path) -> None:
    stored = makers.voxels(grid())
    stored[:, :2] = -2000
    series(tmp_path / "ct", values=stored, edit=put("PixelPaddingValue", -2000))
    image = read_image(tmp_path / "ct", "ct")
    assert f"{12 * 2 * 20} padding voxels set to -1000 HU" in noted(image, "dicom-padding", "FIX")
    assert (image.volume.array[:, :2] == -1000).all()


def test_19_values_below_air_are_padding_even_if_no_tag_says_so(tmp_path: Path) -> None:
    stored = makers.voxels(grid())
    stored[:, 0] = -2000
    series(tmp_path / "ct", values=stored)
    assert read_image(tmp_path / "ct", "ct").volume.array.min() == -1000


def test_19_unsigned_slices_with_an_intercept_and_unused_bits_give_the_same_units(tmp_path: Path) -> None:
    raw = (makers.voxels(grid()) + 1024).astype(np.uint16)

    def pack(k: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        dataset.RescaleIntercept = "-1024"
        dataset.PixelData = (raw[k] | 0x5000).astype("<u2").tobytes()

    series(tmp_path / "ct", edit=pack)
    assert_in_place(read_image(tmp_path / "ct", "ct").volume)


def test_19_signed_twelve_bit_values_keep_their_sign(tmp_path: Path) -> None:
    stored = makers.voxels(grid()) - 2300

    def pack(k: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.RescaleIntercept = "2300"
        dataset.PixelData = (stored[k] & 0x0FFF).astype("<u2").tobytes()

    assert stored.min() < -100
    assert stored.min() > -2048
    series(tmp_path / "ct", edit=pack)
    assert_in_place(read_image(tmp_path / "ct", "ct").volume)


def test_19_monochrome1_leaves_hounsfield_units_and_turns_mr_signal(tmp_path: Path) -> None:
    series(tmp_path / "ct", edit=put("PhotometricInterpretation", "MONOCHROME1"))
    image = read_image(tmp_path / "ct", "ct")
    assert_in_place(image.volume)
    noted(image, "dicom-monochrome1", "FIX")
    series(tmp_path / "mr", kind=MR, edit=put("PhotometricInterpretation", "MONOCHROME1"))
    series(tmp_path / "plain", kind=MR)
    turned, plain = (read_image(tmp_path / name, "mr").volume.array for name in ("mr", "plain"))
    assert np.corrcoef(turned[0].ravel(), plain[0].ravel())[0, 1] < -0.99


def test_20_a_compression_without_decoder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    def compress(k: int, dataset: Dataset) -> None:
        assert isinstance(dataset.file_meta, FileMetaDataset)
        dataset.file_meta.TransferSyntaxUID = MPEG2MPML
        dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
        dataset["PixelData"].is_undefined_length = True

    series(tmp_path / "ct", edit=compress)
    assert "install srrd-ray[dicom]" in refused(tmp_path / "ct", "dicom-codec")


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=["run length", "JPEG 2000", "JPEG-LS"]
)
def test_20_lossless_compression_is_read_in_place(tmp_path: Path, syntax: UID) -> None:
    wide = Geometry.from_affine(
        (12, 64, 96), grid().affine
    )  # JPEG 2000 takes no image smaller than its tiles
    for file in series(tmp_path / "ct", geometry=wide):
        dataset = dcmread(file)
        dataset.compress(syntax)
        dataset.save_as(file)
        assert dcmread(file).file_meta.TransferSyntaxUID == syntax
    assert_in_place(read_image(tmp_path / "ct", "ct").volume)


def test_20_lossless_jpeg_is_read_in_place(tmp_path: Path) -> None:
    for file in series(tmp_path / "ct"):
        reader, changer, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(file))
        assert reader.Read()
        changer.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        changer.SetInput(reader.GetImage())
        assert changer.Change()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(changer.GetOutput())
        assert writer.Write()
        assert dcmread(file).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert_in_place(read_image(tmp_path / "ct", "ct").volume)


@pytest.mark.parametrize("order", [1, -1])
def test_21_enhanced_multiframe_is_read_in_place_whatever_the_order_of_frames(
    tmp_path: Path, order: int
) -> None:
    makers.enhanced(tmp_path / "ct" / "IM1.dcm", grid(OBLIQUE), order=order)
    image = read_image(tmp_path / "ct", "ct")
    np.testing.assert_allclose(image.volume.geometry.affine, grid(OBLIQUE).affine, atol=1e-6)
    assert_in_place(image.volume)
    assert image.volume.geometry == read_image(tmp_path / "ct" / "IM1.dcm", "ct").volume.geometry


def test_21_of_several_echoes_the_first_is_chosen_and_named(tmp_path: Path) -> None:
    makers.enhanced(tmp_path / "mr" / "IM1.dcm", echoes=(6.3, 12.6, 18.9))
    image = read_image(tmp_path / "mr", "mr")
    assert "1 of 3 stacks chosen: mr, 12 slices" in noted(image, "dicom-series-chosen", "FIX")
    assert_in_place(image.volume)


def test_21_two_stacks_of_one_file_are_refused_where_the_rule_cannot_choose(tmp_path: Path) -> None:
    path = makers.enhanced(tmp_path / "ct" / "IM1.dcm")
    dataset = dcmread(path)
    for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence = [Dataset()]
        frame.FrameContentSequence[0].StackID = str(k // 6)
    dataset.save_as(path)
    refused(tmp_path / "ct", "dicom-too-few-slices")


def test_22_two_frames_of_reference_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "ct", edit=put("FrameOfReferenceUID", makers.ROOT + "5", lambda k: k > 5))
    assert "2 frames of reference" in refused(tmp_path / "ct", "dicom-frames-of-reference")


@pytest.mark.parametrize(
    ("tag", "value"), [("Laterality", "R"), ("ImageLaterality", "R"), ("SeriesDescription", "RIGHT knee")]
)
def test_23_a_header_that_names_the_other_side_is_refused(tmp_path: Path, tag: str, value: str) -> None:
    series(tmp_path / "ct", edit=put(tag, value))
    assert "got R, expected L" in refused(tmp_path / "ct", "side-contradiction", side="L")
    read_image(tmp_path / "ct", "ct", side="R")


def test_23_without_laterality_the_table_decides(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    read_image(tmp_path / "ct", "ct", side="L")


@pytest.mark.parametrize("part", ["HIP", "HAND", "CHEST"])
def test_25_another_body_part_is_refused(tmp_path: Path, part: str) -> None:
    series(tmp_path / "ct", edit=put("BodyPartExamined", part))
    assert part in refused(tmp_path / "ct", "not-a-knee")


def test_25_the_wrong_modality_is_refused(tmp_path: Path) -> None:
    series(tmp_path / "ct", kind=MR)
    assert "got mr, expected ct" in refused(tmp_path / "ct", "wrong-modality")


def test_25_a_field_of_view_that_no_knee_has_is_refused(tmp_path: Path) -> None:
    affine = grid().affine
    affine[:3, :3] *= 0.02
    series(tmp_path / "ct", geometry=Geometry.from_affine(makers.SHAPE, affine))
    assert "0.3 × 0.16 × 0.3 mm" in refused(tmp_path / "ct", "not-a-knee")


def test_26_burned_in_annotation_is_flagged(tmp_path: Path) -> None:
    series(tmp_path / "ct", edit=put("BurnedInAnnotation", "YES"))
    noted(read_image(tmp_path / "ct", "ct"), "dicom-burned-in", "FLAG")


def test_26_names_in_file_names_are_not_repeated_in_messages(tmp_path: Path) -> None:
    files = series(tmp_path / "ct")
    named = files[3].with_name("Winterbottom_19331207.dcm")
    files[3].rename(named)
    named.write_bytes(named.read_bytes()[:-5])
    assert "file 12 of 12 in order of name" in refused(tmp_path / "ct", "dicom-truncated")


def test_26_technique_holds_codes_and_numbers_from_the_allow_list_alone(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    technique = read_image(tmp_path / "ct", "ct").technique
    assert technique == {
        "KVP": "120", "SliceThickness": "1.25", "Modality": "CT", "ConvolutionKernel": "B30f", "Manufacturer": "SIEMENS",
    }  # fmt: skip


def test_26_values_that_break_the_standard_reach_no_warning_and_no_log(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    for file in series(tmp_path / "ct", edit=put("ImageType", ["ORIGINAL", "Mrs"])):
        file.write_bytes(file.read_bytes().replace(b"120 ", b"Mrs ").replace(b"ORIGINAL", b"originAL"))
    recwarn.clear()
    caplog.clear()
    image = read_image(tmp_path / "ct", "ct")
    assert "KVP" not in image.technique
    assert not [warning for warning in recwarn if "Mrs" in str(warning.message)]
    assert "Mrs" not in caplog.text


def test_26_values_that_break_the_standard_are_not_repeated_while_other_threads_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [tmp_path / str(n) for n in range(8)]
    for n, folder in enumerate(folders):
        series(folder, uid=f"0{n}", values=makers.voxels(grid())[: 8 + n % 5])
    caplog.clear()
    before = pydicom.config.settings.reading_validation_mode
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda folder: read_image(folder, "ct"), folders * 4))
    assert len(images) == 32
    assert makers.ROOT not in caplog.text
    assert pydicom.config.settings.reading_validation_mode == before


def test_14_a_name_in_place_of_a_number_is_refused_and_not_repeated(tmp_path: Path) -> None:
    for file in series(tmp_path / "ct", edit=put("PixelSpacing", ["0.512", "0.751"])):
        file.write_bytes(file.read_bytes().replace(b"0.512", b"Agath"))
    assert "Agath" not in refused(tmp_path / "ct", "dicom-tag-missing")


def test_27_reports_presentations_and_colour_captures_are_ignored_and_counted(tmp_path: Path) -> None:
    files = series(tmp_path / "ct")
    for n, kind in enumerate(
        ("1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.88.59")
    ):
        other = dcmread(files[0])
        del other.PixelData
        other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = UID(kind)
        other.save_as(tmp_path / "ct" / f"IM8{n}.dcm")
    colour = dcmread(files[0])
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    colour.save_as(tmp_path / "ct" / "IM90.dcm")
    text = noted(read_image(tmp_path / "ct", "ct"), "dicom-ignored", "INFO")
    assert "1 × colour image, 3 × not a CT or MR image" in text


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "a.txt").write_text("x")
    assert "1 files" in refused(tmp_path / "ct", "dicom-empty")


def test_69_links_inside_a_series_that_lead_elsewhere_are_not_followed(tmp_path: Path) -> None:
    files = series(tmp_path / "ct")
    elsewhere = tmp_path / "elsewhere.dcm"
    files[3].rename(elsewhere)
    files[3].symlink_to(elsewhere)
    assert "IM0003_1.dcm: got 1 of 12 files" in refused(tmp_path / "ct", "path-outside")
    files[3].unlink()
    elsewhere.rename(files[3])
    (tmp_path / "ct" / "IM99.dcm").symlink_to(files[3])
    noted(read_image(tmp_path / "ct", "ct"), "dicom-copy", "FIX")
