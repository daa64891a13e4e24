"""Results in DICOM: read back by others they are what was found, where it was found, in the study of the CT."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from srrd_ray.core.bones import BONE_LABELS
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.imaging.dicom.findings import RESEARCH, KneeFindings
from srrd_ray.imaging.dicom.knee_results import write_knee_results
from srrd_ray.imaging.dicom.source_series import read_source_series
from srrd_ray.imaging.dicom.writer import SeriesHeader, StoredPixels, write_series
from tests.imaging import makers
from tests.imaging.dicom.results import findings
from tests.imaging.makers import AXIAL, OBLIQUE, grid

MAPS = tuple(PARAMETER_OF[symbol].file_stem for symbol in PARAMETERS)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
FILES = {"bones", "regions", "measurements", *MAPS}


def write(ct: Path, out: Path, found: KneeFindings | None = None) -> dict[str, Path]:
    """Return the files of results over the CT in a folder, by name."""
    source = read_source_series(ct)
    return {path.stem: path for path in write_knee_results(out, source, found or findings(source.geometry))}


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "ct"
    makers.series(folder, geometry=grid(OBLIQUE))
    return folder


@pytest.fixture(scope="module")
def written(ct: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(ct, tmp_path_factory.mktemp("results") / "dicom")


def on_grid(volume: highdicom.Volume, like: Geometry, fill: float) -> NDArray[np.generic]:
    """Return the slices that highdicom read where they belong in the grid of the CT."""
    if np.linalg.det(volume.affine[:3, :3]) * np.linalg.det(like.affine[:3, :3]) > 0:
        volume = volume.flip_spatial(0)  # it orders slices by another rule
    own = Geometry.from_affine(volume.spatial_shape, volume.affine[:, [2, 1, 0, 3]])
    z, y, x = np.rint(like.lps_to_index(own.index_to_lps((0, 0, 0)))).astype(int)
    assert own.matches(like.crop((z, y, x), own.shape))
    whole = np.full((*like.shape, *volume.array.shape[3:]), fill, volume.array.dtype)
    whole[z : z + own.shape[0], y : y + own.shape[1], x : x + own.shape[2]] = volume.array
    return whole


def assert_round_trip(files: dict[str, Path], found: KneeFindings, like: Geometry) -> None:
    """Assert that highdicom reads bones, regions and maps as they were found, on the grid `like` of the CT."""
    bones = highdicom.seg.segread(files["bones"]).get_volume(combine_segments=True)
    regions = highdicom.seg.segread(files["regions"]).get_volume()
    inside = np.rint(like.lps_to_index(found.bones.geometry.index_to_lps((0, 0, 0)))).astype(int)
    window = tuple(slice(a, a + n) for a, n in zip(inside, found.bones.geometry.shape, strict=True))
    np.testing.assert_array_equal(on_grid(bones, like, 0)[window], found.bones.array)
    assert np.count_nonzero(bones.array) == np.count_nonzero(found.bones.array)
    for n, region in enumerate(found.regions):
        np.testing.assert_array_equal(on_grid(regions, like, 0)[window][..., n], region.mask)
    for symbol, stem in zip(PARAMETERS, MAPS, strict=True):
        values = on_grid(highdicom.imread(files[stem]).get_volume(dtype=np.float32), like, np.nan)
        assert np.isfinite(values).sum() == np.isfinite(found.maps[symbol].array).sum()
        np.testing.assert_array_equal(values[window], found.maps[symbol].array)


def test_what_was_found_is_read_back_exactly_where_it_was_found(ct: Path, written: dict[str, Path]) -> None:
    like = read_source_series(ct).geometry
    assert set(written) == FILES
    assert_round_trip(written, findings(like), like)


def test_a_knee_that_was_cropped_lies_on_the_whole_slices(ct: Path, tmp_path: Path) -> None:
    like = read_source_series(ct).geometry
    found = findings(like.crop((1, 2, 3), (11, 14, 17)))
    files = write(ct, tmp_path / "out", found)
    assert_round_trip(files, found, like)
    assert dcmread(files["bones"]).Columns == like.shape[2]


@pytest.mark.parametrize("order", [1, -1])
def test_one_file_with_many_frames_is_referred_to_as_well(tmp_path: Path, order: int) -> None:
    makers.enhanced(tmp_path / "ct" / "e.dcm", order=order)
    source = read_source_series(tmp_path / "ct")
    found = findings(source.geometry)
    assert_round_trip(write(tmp_path / "ct", tmp_path / "out", found), found, source.geometry)


def test_a_ct_with_gantry_tilt_has_results_on_the_grid_it_was_resampled_to(tmp_path: Path) -> None:
    affine = grid().affine
    affine[1, 2] = np.tan(np.radians(15)) * makers.SPACING[0]
    makers.series(tmp_path / "ct", geometry=Geometry.from_affine(makers.SHAPE, affine))
    source = read_source_series(tmp_path / "ct")
    found = findings(source.geometry)
    assert_round_trip(write(tmp_path / "ct", tmp_path / "out", found), found, source.geometry)


def test_results_belong_to_the_patient_the_study_and_the_space_of_the_ct(
    ct: Path, written: dict[str, Path]
) -> None:
    source = dcmread(sorted(ct.iterdir())[0])
    for name, path in written.items():
        result = dcmread(path)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge",
                        "StudyInstanceUID", "StudyDate", "AccessionNumber"):  # fmt: skip
            assert result[keyword].value == source[keyword].value, (name, keyword)
        if name != "measurements":
            assert result.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert "RESEARCH ONLY, SIMULATED TRAINING" in result.SeriesDescription
        assert result.Manufacturer == "SRRD-RAY"
        assert result.DeviceSerialNumber == "a1" * 8
    assert len({dcmread(path).SeriesInstanceUID for path in written.values()}) == 3


def test_frames_refer_to_the_slices_they_lie_on(ct: Path, written: dict[str, Path]) -> None:
    source = {str(image.SOPInstanceUID): image for image in map(dcmread, ct.iterdir())}
    for name in sorted(FILES - {"measurements"}):
        for frame in dcmread(written[name]).PerFrameFunctionalGroupsSequence:
            referred = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            place = frame.PlanePositionSequence[0].ImagePositionPatient
            assert list(place) == list(source[referred].ImagePositionPatient), name


def test_maps_say_quantity_unit_and_identity(written: dict[str, Path]) -> None:
    for symbol, stem in zip(PARAMETERS, MAPS, strict=True):
        result = dcmread(written[stem])
        shared = result.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert shared.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"
        assert shared.MeasurementUnitsCodeSequence[0].CodeValue == (PARAMETER_OF[symbol].unit or "1")
        assert shared.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == symbol
        assert (shared.RealWorldValueSlope, shared.RealWorldValueIntercept) == (1, 0)
        assert result.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99SRRD"
        assert result.pixel_array.dtype == np.float32


def groups_of(path: Path) -> dict[str, highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    report = highdicom.sr.srread(path)
    groups = report.content.get_volumetric_roi_measurement_groups()
    return {group.tracking_identifier: group for group in groups}


def test_the_report_has_the_values_of_each_region_and_names_its_segment(
    ct: Path, written: dict[str, Path]
) -> None:
    found = findings(read_source_series(ct).geometry)
    regions, groups = dcmread(written["regions"]), groups_of(written["measurements"])
    assert set(groups) == {region.name for region in found.regions}
    for number, region in enumerate(found.regions):
        group = groups[region.name]
        values = {(m.name.value, m.derivation and m.derivation.meaning): m for m in group.get_measurements()}
        assert values[("CUBES", None)].value == region.cubes
        for symbol in PARAMETERS:
            assert values[(symbol, "Mean")].value == region.means[symbol]
            assert values[(symbol, "Standard Deviation")].value == region.sds[symbol]
            assert values[(symbol, "Mean")].unit.value == (PARAMETER_OF[symbol].unit or "1")
        site = group.finding_sites[0]
        assert site.value.meaning.lower() == region.bone
        assert (site.laterality.meaning, site.topographical_modifier.meaning.lower()) == (
            "Left",
            region.compartment,
        )
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == regions.SOPInstanceUID
        assert segment.referenced_segment_numbers == [number + 1]
        assert regions.SegmentSequence[number].TrackingUID == group.tracking_uid


@pytest.mark.parametrize("simulated", [True, False])
def test_the_report_tells_that_it_is_research_and_all_cautions(
    ct: Path, tmp_path: Path, simulated: bool
) -> None:
    found = findings(read_source_series(ct).geometry, simulated=simulated)
    path = write(ct, tmp_path / "out", found)["measurements"]
    said = [i for i in dcmread(path).ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning == "Comment"]
    assert [item.TextValue for item in said] == [RESEARCH, *found.cautions]
    assert ("SIMULATED" in dcmread(path).SeriesDescription) == simulated


def test_bones_that_were_given_are_not_said_to_be_of_the_network(ct: Path, tmp_path: Path) -> None:
    found = replace(findings(read_source_series(ct).geometry), bones_given=True)
    files = write(ct, tmp_path / "out", found)
    for name, kind in (("bones", "SEMIAUTOMATIC"), ("regions", "AUTOMATIC")):
        assert {s.SegmentAlgorithmType for s in dcmread(files[name]).SegmentSequence} == {kind}


def test_the_same_findings_are_the_same_bytes_and_others_have_other_uids(
    ct: Path, written: dict[str, Path], tmp_path: Path
) -> None:
    again = write(ct, tmp_path / "again")
    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: path.read_bytes() for name, path in written.items()
    }
    found = findings(read_source_series(ct).geometry)
    other = write(ct, tmp_path / "other", replace(found, side="R"))
    for name, path in written.items():
        assert dcmread(path).SOPInstanceUID != dcmread(other[name]).SOPInstanceUID


def sequences(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from sequences(item)


def test_no_uid_is_random_and_no_date_is_of_today(written: dict[str, Path]) -> None:
    for path in written.values():
        result = dcmread(path)
        assert (result.ContentDate, result.get("InstanceCreationDate")) == ("20240229", None)
        for item in sequences(result):
            dates = [e.value for e in item if e.VR in ("DA", "DT") and e.value]
            assert not [date for date in dates if not str(date).startswith(("2024", "1933"))], dates


IODS = {
    "bones": "segmentation", "regions": "segmentation", "measurements": "comprehensive-3d-sr",
    **dict.fromkeys(MAPS, "parametric-map"),
}  # fmt: skip


def test_every_value_is_of_its_kind_and_every_attribute_that_is_demanded_is_there(
    written: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    for name, iod in IODS.items():
        result = dcmread(written[name])
        for item in sequences(result):
            assert item.to_json_dict() is not None  # every value is parsed, and raises where it is invalid
        modules = [m for m in get_iod_module_map()[iod] if m["key"] != "sr-document-content"]
        for module in modules:  # content is checked as it is read by TID 1500
            for attribute in get_module_attribute_map()[module["key"]]:
                if module["usage"] == "M" and not attribute["path"] and attribute["type"] in ("1", "2"):
                    assert attribute["keyword"] in result, (name, module["key"], attribute["keyword"])


def run_dcmqi(name: str, path: Path, *words: str) -> None:
    """Read a result with dcmqi, the reader of 3D Slicer."""
    program = shutil.which(name, path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip("dcmqi is not installed")
    command = [program, "--inputDICOM", str(path), *words]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def slices_of(path: Path, out: Path, like: Geometry) -> NDArray[np.float64]:
    """Return what dcmqi makes of a map or a segmentation, on the grid of the CT."""
    name = "paramap2itkimage" if path.stem in MAPS else "segimage2itkimage"
    run_dcmqi(name, path, "--outputDirectory", str(out), "--prefix", path.stem, "-t", "nrrd")
    whole = np.zeros((*like.shape, len(list(out.glob("*.nrrd")))))
    for n, image in enumerate(map(sitk.ReadImage, sorted(map(str, out.glob("*.nrrd"))))):
        index = np.indices(image.GetSize()[::-1]).reshape(3, -1).T
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        own = Geometry.from_affine(image.GetSize()[::-1], affine)
        z, y, x = np.rint(like.lps_to_index(own.index_to_lps(index))).astype(int).T
        whole[z, y, x, n] = np.nan_to_num(sitk.GetArrayFromImage(image)).ravel()
    return whole


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE, SAGITTAL])
def test_the_reader_of_3d_slicer_sees_all_where_it_is(
    tmp_path: Path, orientation: Sequence[float], order: int
) -> None:
    affine = grid(orientation).affine
    affine[:3, 2] *= order
    makers.series(tmp_path / "ct", geometry=Geometry.from_affine(makers.SHAPE, affine))
    like = read_source_series(tmp_path / "ct").geometry
    found, files = findings(like), write(tmp_path / "ct", tmp_path / "dicom")
    for name in (*MAPS, "bones", "regions"):
        (tmp_path / name).mkdir()
    for symbol, stem in zip(PARAMETERS, MAPS, strict=True):
        seen = slices_of(files[stem], tmp_path / stem, like)
        np.testing.assert_array_equal(seen[..., 0], np.nan_to_num(found.maps[symbol].array))
    bones = slices_of(files["bones"], tmp_path / "bones", like)
    for n, label in enumerate(BONE_LABELS.values()):
        np.testing.assert_array_equal(bones[..., n] > 0, found.bones.array == label)


def test_the_reader_of_3d_slicer_has_the_values_of_the_report(
    ct: Path, written: dict[str, Path], tmp_path: Path
) -> None:
    run_dcmqi("tid1500reader", written["measurements"], "--outputMetadata", str(tmp_path / "read.json"))
    read = json.loads((tmp_path / "read.json").read_text())["Measurements"]
    regions = findings(read_source_series(ct).geometry).regions
    assert [group["TrackingIdentifier"] for group in read] == [region.name for region in regions]
    for group, region in zip(read, regions, strict=True):
        values = {i["quantity"]["CodeValue"]: float(i["value"]) for i in group["measurementItems"]
                  if i.get("derivationModifier", {}).get("CodeMeaning") == "Mean"}  # fmt: skip
        assert values == pytest.approx(dict(region.means))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    header = SeriesHeader(
        modality="ct", patient="sub-A1", side="L", image_type=("ORIGINAL", "PRIMARY", "AXIAL"), description="test",
        study=("a",), frame=("a",), series=("a",),
    )  # fmt: skip
    stored = StoredPixels(values=np.arange(np.prod(makers.SHAPE), dtype=np.int16).reshape(makers.SHAPE))
    write_series(tmp_path / "ct", header, stored, grid(OBLIQUE))
    for name, path in write(tmp_path / "ct", tmp_path / "out").items():
        told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        errors = [line for line in (told.stderr + told.stdout).splitlines() if line.startswith("Error")]
        assert not errors, name
        assert told.returncode == 0, name


def test_values_that_are_none_of_their_kind_are_left_empty_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.PatientName = makers.NAME.split("^")[0]
            dataset.PatientSex, dataset.PatientBirthDate = "female", "7.12.1933"
            del dataset.StudyDate, dataset.ContentDate

    makers.series(tmp_path / "ct", edit=edit)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        files = write(tmp_path / "ct", tmp_path / "out")
    assert not warned
    assert capfd.readouterr() == ("", "")
    result = dcmread(files["bones"])
    assert (result.PatientName, result.PatientSex, result.PatientBirthDate) == ("Winterbottom", "", "")
    assert result.ContentDate == "20240229", "of the acquisition"


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_series_that_nothing_can_refer_to_is_refused(tmp_path: Path, keyword: str) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        if k == 3 or keyword != "SOPInstanceUID":
            delattr(dataset, keyword)

    makers.series(tmp_path / "ct", edit=edit)
    with pytest.raises(InputError, match=rf"\[dicom-no-uid\].*{keyword}"):
        read_source_series(tmp_path / "ct")


def test_labels_of_bones_are_numbers_of_segments(written: dict[str, Path]) -> None:
    segments = {s.SegmentLabel: s for s in dcmread(written["bones"]).SegmentSequence}
    assert {name: segment.SegmentNumber for name, segment in segments.items()} == dict(BONE_LABELS)
    kind = segments["femur"].SegmentedPropertyTypeCodeSequence[0]
    assert kind.CodeValue == codes.SCT.Femur.value
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == codes.SCT.Left.value
    assert "sha256" in segments["femur"].SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters


@pytest.mark.parametrize(
    ("named", "name", "kept"),
    [
        ("ISO_IR 100", "Müller^Ä", "ISO_IR 100"),
        ("ISO-IR 100", "Müller^Ä", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", "ISO_IR 192"),
        ("", "Winterbottom^A", "ISO_IR 192"),
    ],
)
def test_a_name_is_kept_in_any_alphabet(tmp_path: Path, named: str | list[str], name: str, kept: str) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = named, name

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the misspelt set, as it is written for the test
        makers.series(tmp_path / "ct", edit=edit)
    for path in write(tmp_path / "ct", tmp_path / "out").values():
        result = dcmread(path)
        assert (str(result.PatientName), result.SpecificCharacterSet) == (name, kept)


def test_a_header_without_patient_dates_and_thickness_has_results_as_well(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "SeriesDate",
                        "AcquisitionDate", "ContentDate", "SliceThickness", "Manufacturer"):  # fmt: skip
            delattr(dataset, keyword)

    makers.series(tmp_path / "ct", edit=edit)
    result = dcmread(write(tmp_path / "ct", tmp_path / "out")["bones"])
    assert (result.PatientName, result.ContentDate, result.ContentTime) == ("", "19000101", "000000")
    assert result.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 1.25
