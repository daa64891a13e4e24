import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.errors import CohortError, InputError
from srrd_ray.core.records import CohortKnee
from srrd_ray.stages.ingest import IngestConfig, ingest
from srrd_ray.storage import omezarr
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from tests.imaging import makers

CONFIG = IngestConfig()


def one_knee(root: Path) -> CohortKnee:
    return read_cohort(root).knees[0]


def mask(root: Path, bone: str, box: tuple[slice, slice, slice], space: str = "ct") -> None:
    values = np.zeros((20, 24, 16), np.uint8)
    values[box] = 1
    makers.nifti(
        root / "derivatives/masks/sub-A1" / f"sub-A1_side-L_desc-{bone}_space-{space}_mask.nii.gz", values
    )


LOW, HIGH = (slice(5, 12), slice(6, 20), slice(1, 5)), (slice(5, 12), slice(6, 20), slice(7, 12))


def test_ct_and_mr_become_volumes_of_the_run_with_unit_and_source(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    layout = RunLayout(root=tmp_path / "run")
    ct, mr = ingest(one_knee(root), layout, CONFIG)
    assert (ct.image, ct.unit, mr.image, mr.unit) == ("ct", "HU", "mr", "au")
    assert ct.path == layout.volume(ct.knee, "ct")
    np.testing.assert_array_equal(omezarr.read_volume(ct.path).array, makers.bone().T)
    assert omezarr.read_volume(mr.path).array.dtype == np.int16
    assert hash_file(root / "sub-A1/ct/sub-A1_side-L_ct.nii.gz") in (ct.path / "zarr.json").read_text()


def test_padding_of_a_dicom_series_stays_known_in_the_run(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    (root / "sub-A1/ct/sub-A1_side-L_ct.nii.gz").unlink()
    values = makers.voxels(makers.grid())
    values[:, :, :3] = -2000

    def declare(k: int, dataset: Dataset) -> None:
        dataset.PixelPaddingValue = -2000

    makers.series(root / "sub-A1/ct/sub-A1_side-L_ct", values=values, edit=declare)
    ct, mr = ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)
    scanned = omezarr.open_scanned(ct.path)
    assert scanned is not None
    np.testing.assert_array_equal(np.asarray(scanned[:]), values != -2000)
    assert omezarr.open_scanned(mr.path) is None


def test_ingest_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    for name in "ab":
        ingest(one_knee(root), RunLayout(root=tmp_path / name), CONFIG)
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b")


def labels(root: Path, values: np.ndarray, space: str = "ct") -> Path:
    path = root / "derivatives/masks/sub-A1" / f"sub-A1_side-L_space-{space}_dseg.nii.gz"
    makers.nifti(path, values)
    return path


def test_one_file_of_labels_is_the_same_as_a_mask_for_each_bone(tmp_path: Path) -> None:
    found = []
    for name in ("masks", "labels"):
        root = makers.cohort(tmp_path / name)
        if name == "masks":
            mask(root, "femur", HIGH)
            mask(root, "tibia", LOW)
        else:
            values = np.zeros((20, 24, 16), np.uint8)
            values[HIGH], values[LOW] = 1, 2
            labels(root, values)
        layout = RunLayout(root=tmp_path / f"run-{name}")
        ingest(one_knee(root), layout, CONFIG)
        found.append(omezarr.read_volume(layout.volume(one_knee(root).knee, "ct_masks")).array)
    np.testing.assert_array_equal(found[0], found[1])
    assert set(np.unique(found[0])) == {0, 1, 2}


def test_labels_of_a_cohort_are_known_by_the_names_beside_them(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    values = np.zeros((20, 24, 16), np.uint8)
    values[HIGH], values[LOW] = 7, 4
    path = labels(root, values)
    with pytest.raises(InputError, match="mask-label"):
        ingest(one_knee(root), RunLayout(root=tmp_path / "unnamed"), CONFIG)
    (path.parent / "dataset.json").write_text('{"labels": {"background": 0, "femur": 7, "tibia": 4}}')
    layout = RunLayout(root=tmp_path / "run")
    ingest(one_knee(root), layout, CONFIG)
    stored = omezarr.read_volume(layout.volume(one_knee(root).knee, "ct_masks")).array
    assert ((stored == 1).sum(), (stored == 2).sum()) == ((values == 7).sum(), (values == 4).sum())


def test_a_mask_of_a_bone_beside_one_of_all_bones_is_refused(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    mask(root, "femur", HIGH)
    values = np.zeros((20, 24, 16), np.uint8)
    values[HIGH], values[LOW] = 1, 2
    labels(root, values)
    with pytest.raises(CohortError, match=r"\[mask-twice\].*femur"):
        read_cohort(root)


def test_given_masks_become_labels_on_the_grid_of_their_image(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    mask(root, "femur", HIGH)
    mask(root, "tibia", LOW)
    stored = ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)
    assert [volume.image for volume in stored] == ["ct", "ct_masks", "mr"]
    labels = omezarr.read_volume(stored[1].path)
    assert labels.geometry == stored[0].geometry
    assert (labels.array.T[HIGH] == 1).all()
    assert (labels.array.T[LOW] == 2).all()
    assert np.count_nonzero(labels.array) == 7 * 14 * 9


def test_masks_that_overlap_are_refused(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    mask(root, "femur", HIGH)
    mask(root, "tibia", HIGH)
    with pytest.raises(InputError, match="490 voxels"):
        ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)


def test_an_empty_mask_leaves_out_that_bone_alone(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    mask(root, "femur", HIGH)
    mask(root, "tibia", (slice(0), slice(0), slice(0)))
    labels = ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)[1]
    assert set(np.unique(omezarr.read_volume(labels.path).array)) == {0, 1}
    assert "FLAG mask-empty: the mask of the tibia" in (labels.path / "zarr.json").read_text()


def test_empty_masks_of_all_bones_are_refused(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    for bone in ("femur", "tibia"):
        mask(root, bone, (slice(0), slice(0), slice(0)))
    with pytest.raises(InputError, match="mask-empty"):
        ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)


def test_a_knee_with_ct_alone_is_taken_and_one_with_nothing_refused(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    shutil.rmtree(root / "sub-A1" / "mr")
    assert [v.image for v in ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)] == ["ct"]
    shutil.rmtree(root / "sub-A1" / "ct")
    with pytest.raises(InputError, match="knee-no-image"):
        ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)


def test_what_was_corrected_is_recorded_with_the_volume(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    folder = root / "sub-A1/ct/sub-A1_side-L_ct"
    (root / "sub-A1/ct/sub-A1_side-L_ct.nii.gz").unlink()
    files = makers.series(folder)
    (folder / "IM99.dcm").write_bytes(files[0].read_bytes())
    ct = ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)[0]
    text = (ct.path / "zarr.json").read_text()
    assert "FIX dicom-copy: 1 second copies" in text
    assert '"KVP": "120"' in text


def test_nothing_of_the_patient_is_in_any_byte_of_the_run(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    for modality, kind in (("ct", makers.CT), ("mr", makers.MR)):
        (root / f"sub-A1/{modality}/sub-A1_side-L_{modality}.nii.gz").unlink()
        makers.series(root / f"sub-A1/{modality}/sub-A1_side-L_{modality}", kind=kind)
    ingest(one_knee(root), RunLayout(root=tmp_path / "run"), CONFIG)
    ingest(read_cohort(root).knees[1], RunLayout(root=tmp_path / "run"), CONFIG)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 8
    source = (root / "sub-A1/ct/sub-A1_side-L_ct/IM0000_1.dcm").read_bytes()
    for planted in (*makers.PLANTED, "ELSEWHERE", "alert", str(tmp_path)):
        assert planted.encode() in source or planted == str(tmp_path)
        for file in files:
            assert planted.encode() not in file.read_bytes()
            assert planted not in str(file.relative_to(tmp_path))
