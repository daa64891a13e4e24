import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread

from srrd_ray.cohort.check import check
from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.records import Modality
from srrd_ray.imaging.images import read_image
from srrd_ray.simulation import mr
from srrd_ray.simulation.cohort import KneeImages, View, simulate
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.stages.dicom_scans import ct_header, mr_header
from srrd_ray.stages.simulate import Scans, knee_paths, simulate_knee, write_knee, write_tables
from srrd_ray.storage.file_hash import hash_file

TINY = View(ct_mm=(66.0, 14.0, 24.0), mr_mm=(60.0, 10.0, 19.0), center_mm=(0, 0, 0), truth_voxel_mm=0.3)
MODALITIES: tuple[Modality, ...] = ("ct", "mr")
DICOM = Scans(dicom=True)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plan() -> SimulatedKnee:
    return simulate_cohort_plan(18, 5)[0]


@pytest.fixture(scope="module")
def images(plan: SimulatedKnee) -> KneeImages:
    return simulate(plan, TINY)


def _write(plan: SimulatedKnee, images: KneeImages, out: Path, scans: Scans) -> Path:
    write_knee(plan, images, out, scans)
    write_tables([plan], out)
    return out


@pytest.fixture(scope="module")
def nifti(plan: SimulatedKnee, images: KneeImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nifti")
    for path in knee_paths(plan.knee, root, dicom=True)[:2]:
        path.mkdir(parents=True)
        (path / "IM00001.dcm").write_bytes(b"of an earlier simulation")
    return _write(plan, images, root, Scans())


@pytest.fixture(scope="module")
def dicom(plan: SimulatedKnee, images: KneeImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dicom")
    for path in knee_paths(plan.knee, root)[:2]:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"of an earlier simulation")
    return _write(plan, images, root, DICOM)


def series(root: Path, modality: Modality) -> Path:
    found = read_cohort(root).knees[0].series(modality)
    assert found is not None
    return found.path


def test_check_finds_nothing_in_a_cohort_of_dicom_series(dicom: Path) -> None:
    assert check(dicom).findings == ()


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_dicom_series_is_read_as_the_same_volume_as_the_nifti(
    nifti: Path, dicom: Path, modality: Modality
) -> None:
    old, new = (read_image(series(root, modality), modality, side=None).volume for root in (nifti, dicom))
    np.testing.assert_array_equal(new.array, old.array)
    assert new.geometry.matches(old.geometry, tolerance_mm=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_independent_reader_agrees_on_voxels_and_place(dicom: Path, modality: Modality) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series(dicom, modality))))
    image = reader.Execute()
    ours = read_image(series(dicom, modality), modality).volume
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ours.array)
    nz, ny, nx = (n - 1 for n in ours.array.shape)
    for i, j, k in ((0, 0, 0), (nx, 0, 0), (0, ny, 0), (0, 0, nz)):
        place = image.TransformIndexToPhysicalPoint((i, j, k))
        np.testing.assert_allclose(place, ours.geometry.index_to_lps((k, j, i)), atol=1e-4)


def test_the_mr_lies_obliquely_and_the_ct_along_the_axes(dicom: Path) -> None:
    def cosines(modality: Modality) -> NDArray[np.float64]:
        return np.abs(
            np.array(dcmread(next(series(dicom, modality).iterdir())).ImageOrientationPatient, np.float64)
        )

    assert np.sort(cosines("ct")).tolist() == [0, 0, 0, 0, 1, 1]
    assert (cosines("mr") < 0.9999).all()


def test_pydicom_reads_every_file_without_a_warning(dicom: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for modality in MODALITIES:
            for file in series(dicom, modality).iterdir():
                assert dcmread(file).pixel_array.ndim == 2


def test_the_header_names_the_protocol_and_no_person(dicom: Path, plan: SimulatedKnee) -> None:
    ct, image = (dcmread(next(series(dicom, m).iterdir())) for m in MODALITIES)
    assert (ct.PatientName, ct.PatientBirthDate, ct.PatientSex, ct.StudyDate) == (
        f"sub-{plan.knee.participant}",
        "",
        "",
        "",
    )
    assert ct.KVP in (100, 120, 140)
    assert ct.ConvolutionKernel in ("STANDARD", "DETAIL", "BONE")
    assert (image.RepetitionTime, image.EchoTime, image.FlipAngle, image.MagneticFieldStrength) == (
        9.2,
        4.6,
        50,
        3,
    )
    assert list(ct.ImageType)[:2] == list(image.ImageType)[:2] == ["ORIGINAL", "PRIMARY"]
    assert ct.FrameOfReferenceUID != image.FrameOfReferenceUID


def test_a_knee_gives_the_same_bytes(
    dicom: Path, plan: SimulatedKnee, images: KneeImages, tmp_path: Path
) -> None:
    again = _write(plan, images, tmp_path, DICOM)
    assert [hash_file(series(again, m)) for m in MODALITIES] == [
        hash_file(series(dicom, m)) for m in MODALITIES
    ]


def test_two_seeds_share_no_study_and_no_series(images: KneeImages, plan: SimulatedKnee) -> None:
    for one, two in (
        (ct_header(plan, images), ct_header(replace(plan, seed=6), images)),
        (mr_header(plan, images, "bssfp"), mr_header(replace(plan, seed=6), images, "bssfp")),
    ):
        assert one.study != two.study
        assert one.series != two.series
        assert one.frame != two.frame


@pytest.mark.parametrize("sequence", mr.PROTOCOLS)
def test_the_header_names_the_settings_of_every_sequence(
    sequence: mr.Sequence, images: KneeImages, plan: SimulatedKnee
) -> None:
    technique, protocol = mr_header(plan, images, sequence).technique, mr.PROTOCOLS[sequence]
    assert (technique["RepetitionTime"], technique["EchoTime"], technique["FlipAngle"]) == (
        protocol.tr,
        protocol.te,
        protocol.flip,
    )
    assert technique["SliceThickness"] == technique["SpacingBetweenSlices"] == protocol.slice_mm
    assert technique["MRAcquisitionType"] == ("3D" if sequence in ("bssfp", "dess") else "2D")
    assert ("ScanOptions" in technique) == (protocol.fat != "none")


def test_images_of_the_other_format_are_removed(nifti: Path, dicom: Path, plan: SimulatedKnee) -> None:
    assert not any(path.exists() for path in knee_paths(plan.knee, nifti, dicom=True)[:2])
    assert not any(path.exists() for path in knee_paths(plan.knee, dicom)[:2])


def test_another_sequence_has_its_own_grid_and_tags(plan: SimulatedKnee, tmp_path: Path) -> None:
    simulate_knee(plan, tmp_path, TINY, Scans(mr="dess", dicom=True))
    root, protocol = tmp_path, mr.PROTOCOLS["dess"]
    write_tables([plan], root)
    image = dcmread(next(series(root, "mr").iterdir()))
    found = read_image(series(root, "mr"), "mr").volume.geometry
    np.testing.assert_allclose(
        found.spacing_mm, (protocol.slice_mm, protocol.pixel_mm, protocol.pixel_mm), rtol=1e-6
    )
    assert (image.RepetitionTime, image.EchoTime, image.FlipAngle) == (
        protocol.tr,
        protocol.te,
        protocol.flip,
    )
    assert check(root).findings == ()
