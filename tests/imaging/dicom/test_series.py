"""A series is told by its positions; what is asked of a knee is not asked of any other bone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.source import ReadRules, SourceImage
from tests.imaging import makers


def notes(image: SourceImage) -> set[str]:
    return {f"{note.severity} {note.code}" for note in image.notes}


def put(**values: object) -> makers.Edit:
    def edit(k: int, dataset: Dataset) -> None:
        for tag, value in values.items():
            setattr(dataset, tag, value)

    return edit


def drop(*tags: str) -> makers.Edit:
    def edit(k: int, dataset: Dataset) -> None:
        for tag in tags:
            delattr(dataset, tag)

    return edit


@pytest.mark.parametrize(
    "edit",
    [drop("SOPInstanceUID"), put(SOPInstanceUID="1.2.3"), drop("SOPInstanceUID", "SeriesInstanceUID")],
    ids=["none", "one", "no series either"],
)
def test_slices_without_an_identity_of_their_own_are_told_apart_by_position(
    tmp_path: Path, edit: makers.Edit
) -> None:
    makers.series(tmp_path / "ct", edit=edit)
    image = read_image(tmp_path / "ct", "ct")
    makers.assert_in_place(image.volume)
    assert notes(image) == {"FLAG dicom-uid"}


def test_a_second_copy_of_a_slice_without_identity_is_still_dropped(tmp_path: Path) -> None:
    files = makers.series(tmp_path / "ct", edit=put(SOPInstanceUID="1.2.3"))
    (tmp_path / "ct" / "IM9.dcm").write_bytes(files[4].read_bytes())
    assert notes(read_image(tmp_path / "ct", "ct")) == {"FLAG dicom-uid", "FIX dicom-copy"}


def test_a_frame_of_reference_that_some_slices_lack_is_no_second_one(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        if k % 3 == 0:
            del dataset.FrameOfReferenceUID

    makers.series(tmp_path / "ct", edit=edit)
    makers.assert_in_place(read_image(tmp_path / "ct", "ct").volume)


@pytest.mark.parametrize("part", ["RADIUS", "LSPINE", "HEAD"])
def test_any_part_of_the_body_can_be_measured(tmp_path: Path, part: str) -> None:
    makers.series(tmp_path / "ct", edit=put(BodyPartExamined=part))
    assert notes(read_image(tmp_path / "ct")) == set()
    with pytest.raises(InputError, match="not-a-knee"):
        read_image(tmp_path / "ct", "ct")
    assert notes(read_image(tmp_path / "ct", "ct", rules=ReadRules(not_a_knee="flag"))) == {
        "FLAG knee-doubtful"
    }


def test_a_sample_of_any_size_can_be_measured(tmp_path: Path) -> None:
    grid = Geometry.axis_aligned(makers.SHAPE, (0.02, 0.02, 0.02))
    makers.series(tmp_path / "ct", geometry=grid, values=makers.voxels(makers.grid()))
    assert read_image(tmp_path / "ct").volume.geometry.spacing_mm == pytest.approx((0.02, 0.02, 0.02))
    with pytest.raises(InputError, match="not-a-knee"):
        read_image(tmp_path / "ct", "ct")


@pytest.mark.parametrize(
    "edit", [drop("RescaleSlope"), put(RescaleType="MGML")], ids=["no rescale", "mg HA per cm3"]
)
def test_values_that_are_no_hounsfield_units_are_measured_as_they_are_and_flagged(
    tmp_path: Path, edit: makers.Edit
) -> None:
    values = makers.voxels(makers.grid()) - np.int16(3000)
    makers.series(tmp_path / "ct", values=values, edit=edit)
    image = read_image(tmp_path / "ct")
    np.testing.assert_array_equal(image.volume.array, values)
    assert (image.unit, notes(image)) == ("au", {"FLAG dicom-no-rescale"})
    with pytest.raises(InputError, match="dicom-no-rescale"):
        read_image(tmp_path / "ct", "ct")


def test_a_table_of_values_that_is_not_applied_is_refused(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        table = Dataset()
        table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [2, 0, 16], [5, 9], "HU"
        table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
        dataset.ModalityLUTSequence = [table]
        del dataset.RescaleSlope, dataset.RescaleIntercept

    makers.series(tmp_path / "ct", edit=edit)
    with pytest.raises(InputError, match="dicom-lut"):
        read_image(tmp_path / "ct")


def test_padding_that_is_written_without_its_sign_is_padding(tmp_path: Path) -> None:
    values = makers.voxels(makers.grid())
    values[:, :2] = -2000

    def edit(k: int, dataset: Dataset) -> None:
        dataset.add_new("PixelPaddingValue", "US", 63536)

    makers.series(tmp_path / "mr", kind=makers.MR, values=values, edit=edit)
    image = read_image(tmp_path / "mr", "mr")
    assert notes(image) == {"FIX dicom-padding"}
    assert (image.volume.array[:, :2] == 0).all()


def test_cosines_of_two_digits_change_no_spacing_and_others_are_refused(tmp_path: Path) -> None:
    makers.series(tmp_path / "ct", edit=put(ImageOrientationPatient=[0.71, 0.71, 0, -0.71, 0.71, 0]))
    assert read_image(tmp_path / "ct").volume.geometry.spacing_mm[1:] == pytest.approx(makers.SPACING[1:])
    for name, turned in (
        ("zero", [0.0] * 6),
        ("skew", [1, 0, 0, 0.5, 0.8, 0]),
        ("long", [1.1, 0, 0, 0, 1, 0]),
    ):
        makers.series(tmp_path / name, edit=put(ImageOrientationPatient=turned))
        with pytest.raises(InputError, match="dicom-orientation"):
            read_image(tmp_path / name)


def test_spacings_that_differ_by_rounding_are_one(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.PixelSpacing = ["0.5", "0.75"] if k % 2 else ["0.500001", "0.75"]

    makers.series(tmp_path / "ct", edit=edit)
    assert notes(read_image(tmp_path / "ct", "ct")) == set()


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_a_slice_that_is_none_is_not_left_out(tmp_path: Path, content: bytes) -> None:
    files = makers.series(tmp_path / "ct")
    files[-1].write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "ct", "ct")
    assert caught.value.code == ("dicom-header" if content.startswith(b"<") else "link-broken")


def test_hidden_files_beside_the_slices_are_none_of_them(tmp_path: Path) -> None:
    makers.series(tmp_path / "ct")
    (tmp_path / "ct" / "._IM0001.dcm").write_bytes(b"\0\5\x16\7" + bytes(90))
    assert notes(read_image(tmp_path / "ct", "ct")) == {"INFO dicom-ignored"}


def test_an_icon_is_not_taken_for_the_image(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        icon = Dataset()
        makers.put_pixels(icon, np.full((4, 4), 7, np.uint16))
        dataset.IconImageSequence = [icon]

    makers.series(tmp_path / "ct", edit=edit)
    makers.assert_in_place(read_image(tmp_path / "ct", "ct").volume)


def test_a_scale_that_only_some_slices_tell_is_refused(tmp_path: Path) -> None:
    def lose(k: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, 0
        if k % 4 == 3:
            del dataset.RescaleSlope, dataset.RescaleIntercept

    for kind, modality in ((makers.MR, "mr"), (makers.CT, "ct")):
        makers.series(tmp_path / modality, kind=kind, edit=lose)
        with pytest.raises(InputError, match=r"dicom-rescale-mixed.*IM0003.*3 of 12 slices"):
            read_image(tmp_path / modality)


def test_a_scale_of_one_may_be_left_out_and_one_of_zero_is_flagged(tmp_path: Path) -> None:
    def lose(k: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        if k % 4 == 3:
            del dataset.RescaleSlope, dataset.RescaleIntercept

    makers.series(tmp_path / "one", kind=makers.MR, edit=lose)
    assert notes(read_image(tmp_path / "one")) == set()
    makers.series(tmp_path / "zero", kind=makers.MR, edit=put(RescaleSlope=0, RescaleIntercept=0))
    assert notes(read_image(tmp_path / "zero")) == {"FLAG dicom-no-rescale"}


def test_a_mapping_to_real_values_that_is_not_applied_is_flagged_and_where_it_changes_refused(
    tmp_path: Path,
) -> None:
    def mapped(slopes: list[float]) -> makers.Edit:
        def edit(k: int, dataset: Dataset) -> None:
            mapping = Dataset()
            mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slopes[k % len(slopes)], 0.0
            dataset.RealWorldValueMappingSequence = [mapping]

        return edit

    makers.series(tmp_path / "one", kind=makers.MR, edit=mapped([0.25]))
    assert notes(read_image(tmp_path / "one")) == {"FLAG dicom-no-rescale"}
    makers.series(tmp_path / "two", kind=makers.MR, edit=mapped([0.25, 0.5]))
    with pytest.raises(InputError, match="dicom-rescale-mixed"):
        read_image(tmp_path / "two")


@pytest.mark.parametrize(
    ("thickness", "refused"), [(makers.SPACING[0], False), (2 * makers.SPACING[0], True)]
)
def test_acquisitions_that_alternate_are_flagged_and_refused_where_each_is_a_volume(
    tmp_path: Path, thickness: float, refused: bool
) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.AcquisitionNumber, dataset.SliceThickness = 1 + k % 2, thickness

    makers.series(tmp_path / "ct", edit=edit)
    if refused:
        with pytest.raises(
            InputError, match=r"dicom-acquisitions.*2 acquisitions, slices of 2.5 mm every 1.25 mm"
        ):
            read_image(tmp_path / "ct")
    else:
        assert notes(read_image(tmp_path / "ct")) == {"FLAG dicom-acquisitions"}


@pytest.mark.parametrize(
    "acquisition", [lambda k: 1 + k, lambda k: 1 + k // 6], ids=["each its own", "stacked"]
)
def test_acquisitions_one_after_the_other_are_one_volume(
    tmp_path: Path, acquisition: Callable[[int], int]
) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.AcquisitionNumber, dataset.SliceThickness = acquisition(k), 5.0

    makers.series(tmp_path / "ct", edit=edit)
    assert notes(read_image(tmp_path / "ct")) == set()


def test_values_far_below_air_are_no_hounsfield_units(tmp_path: Path) -> None:
    values = makers.voxels(makers.grid()) - np.int16(4000)
    makers.series(tmp_path / "ct", values=values)
    image = read_image(tmp_path / "ct")
    np.testing.assert_array_equal(image.volume.array, values)
    assert (image.unit, notes(image)) == ("au", {"FLAG dicom-no-rescale"})
    with pytest.raises(InputError, match="dicom-no-rescale"):
        read_image(tmp_path / "ct", "ct", rules=ReadRules(not_a_knee="flag"))


def test_one_value_far_below_air_is_padding_that_nobody_declared(tmp_path: Path) -> None:
    values = makers.voxels(makers.grid())
    values[:, :4] = -3024
    values[0, 8, 8] = -1100  # a streak
    makers.series(tmp_path / "ct", values=values)
    image = read_image(tmp_path / "ct")
    assert (image.unit, notes(image)) == ("HU", {"FIX dicom-padding"})
    assert (image.volume.array[:, :4] == -1000).all()
    assert image.volume.array[0, 8, 8] == -1000
    np.testing.assert_array_equal(image.volume.array[1:, 4:], values[1:, 4:])


def test_pixels_that_are_floating_point_numbers_are_refused_as_such(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.FloatPixelData = np.frombuffer(dataset.PixelData, np.int16).astype(np.float32).tobytes()
        dataset.BitsAllocated = 32
        del dataset.PixelData

    makers.series(tmp_path / "ct", edit=edit)
    with pytest.raises(InputError, match=r"dicom-pixels.*floating-point"):
        read_image(tmp_path / "ct")


def test_an_inverted_signal_is_turned_about_one_value_in_all_slices(tmp_path: Path) -> None:
    values = makers.voxels(makers.grid())
    makers.series(
        tmp_path / "mr", kind=makers.MR, values=-values, edit=put(PhotometricInterpretation="MONOCHROME1")
    )
    found = read_image(tmp_path / "mr").volume.array.astype(float)
    assert np.ptp(found - values) == 0
