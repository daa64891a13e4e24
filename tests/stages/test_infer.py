"""One knee read from a DICOM series: every file of it, and what they say.

The networks are untrained: what they read is bone of any value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import highdicom
import ngff_zarr
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from srrd_ray.cli import main
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.distillation.config import DistillationConfig, HyperParameters
from srrd_ray.distillation.fingerprint import NAMES, Fingerprint
from srrd_ray.distillation.networks import build
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.imaging.bone_masks import read_bone_masks
from srrd_ray.imaging.dicom.source_series import read_source_series
from srrd_ray.imaging.dicom.writer import SeriesHeader, StoredPixels, write_series
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.nifti_writer import write_nifti
from srrd_ray.pipeline.inference import InferenceRequest, infer_all
from srrd_ray.stages.infer import InferenceModel
from srrd_ray.stages.shared.knee_files import ResultFormat
from srrd_ray.stages.shared.model_facts import SIMULATED
from srrd_ray.stages.shared.models import StoredFold, read_card, store_model
from srrd_ray.stages.shared.school_files import SHIPPED, SHIPPED_READER
from tests.imaging.dicom.test_knee_results import FILES, groups_of, on_grid
from tests.imaging.dicomweb.orthanc import allow_login, serving
from tests.knee_bones.class_reader import leaking
from tests.registration import phantoms


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained model in a run whose metrics say that its knees are simulated."""
    run = tmp_path_factory.mktemp("run")
    config = DistillationConfig()
    count = len(NAMES)
    fingerprint = Fingerprint(names=NAMES, mean=(0.0,) * count, sd=(1e6,) * count, cubes=9)
    fold = StoredFold(
        fold=0,
        network=build(config.student, 0),
        hyper=HyperParameters(),
        fingerprint=fingerprint,
        patients=99,
    )
    (run / "models").mkdir()
    (run / "metrics.json").write_text(json.dumps({"cohort": {"simulated": True}}))
    return store_model(run / "models" / "distilled", "distilled", config, [fold])


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A right knee as a DICOM series."""
    volume = phantoms.knee()[0]
    header = SeriesHeader(
        modality="ct", patient="sub-A1", side="R", image_type=("ORIGINAL", "PRIMARY", "AXIAL"), description="test",
        study=("a",), frame=("a",), series=("a",),
    )  # fmt: skip
    stored = StoredPixels(values=np.rint(volume.array).astype(np.int16))
    return write_series(tmp_path_factory.mktemp("ct") / "series", header, stored, volume.geometry)


def voxels_of(nifti: Path) -> NDArray[np.generic]:
    voxels: NDArray[np.generic] = np.asanyarray(nib.load(nifti).dataobj).transpose(2, 1, 0)
    return voxels


def read(ct: Path, model: Path, out: Path, formats: Sequence[ResultFormat] = ()) -> Path:
    request = InferenceRequest(ct=ct, model=model, out=out, side="R", formats=tuple(formats))
    assert infer_all(request, lambda _: PlainLoop()) == 0
    return out


@pytest.fixture(scope="module")
def out(ct: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return read(ct, model, tmp_path_factory.mktemp("out") / "knee")


@pytest.mark.slow
def test_a_series_has_results_in_dicom_beside_nifti(ct: Path, out: Path) -> None:
    assert {path.stem for path in (out / "dicom").iterdir()} == FILES
    assert read_source_series(ct).geometry.matches(phantoms.GRID)
    for symbol in PARAMETERS:
        stem = PARAMETER_OF[symbol].file_stem
        whole = voxels_of(out / f"{stem}.nii.gz")
        result = highdicom.imread(out / "dicom" / f"{stem}.dcm").get_volume(dtype=np.float32)
        np.testing.assert_array_equal(on_grid(result, phantoms.GRID, np.nan), whole)


def test_our_own_reader_of_masks_reads_the_bones_back(ct: Path, out: Path) -> None:
    grid = read_image(ct, "ct", side="R").volume.geometry
    back = read_bone_masks(out / "dicom" / "bones.dcm", grid, "R", {})
    np.testing.assert_array_equal(back.labels.array, voxels_of(out / "bones.nii.gz"))
    assert not [note for note in back.notes if note.severity == "FIX"], "not resampled"


def test_the_report_has_the_values_of_the_table(out: Path) -> None:
    table = pd.read_parquet(out / "table.parquet")
    groups = groups_of(out / "dicom" / "measurements.dcm")
    assert len(groups) == len(table) == 4
    for row in table.to_dict("records"):
        group = groups[f"{row['bone']} {row['compartment']}"]
        means = {m.name.value: m.value for m in group.get_measurements() if m.derivation is not None
                 and m.derivation.meaning == "Mean"}  # fmt: skip
        assert means == {symbol: row[symbol] for symbol in PARAMETERS}


def test_that_the_model_learnt_from_simulated_knees_is_said_in_every_format(out: Path) -> None:
    assert SIMULATED in json.loads((out / "inference.json").read_text())["flags"]
    assert SIMULATED in (out / "report.html").read_text()
    report = dcmread(out / "dicom" / "measurements.dcm")
    assert SIMULATED in [item.get("TextValue") for item in report.ContentSequence]
    assert "SIMULATED TRAINING" in report.SeriesDescription


def test_the_tables_are_as_the_dictionary_says(out: Path) -> None:
    tables = json.loads((out / "dictionary.json").read_text())["tables"]
    assert {file for table in tables for file in table["files"]} == {
        "table.csv", "table.parquet", "cubes.csv", "cubes.parquet",
    }  # fmt: skip
    for about in tables:
        text, parquet = (out / file for file in about["files"])
        rows = pd.read_parquet(parquet)
        pd.testing.assert_frame_equal(rows, pd.read_csv(text), atol=1e-5, check_dtype=False)
        assert list(rows) == [column["name"] for column in about["columns"]]
        for column in about["columns"]:
            values = rows[column["name"]]
            assert column["minimum"] is None or (values >= column["minimum"]).all(), column["name"]
            assert column["maximum"] is None or (values <= column["maximum"]).all(), column["name"]


def test_what_the_page_warns_of_is_logged_also_where_nothing_is_read_anew(
    ct: Path, model: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = json.loads((out / "inference.json").read_text())["flags"]
    with caplog.at_level("WARNING", logger="srrd_ray"):
        read(ct, model, out)
    assert caplog.messages == [f"{'infer':<16} ct  {'; '.join(flags)}"]


@pytest.mark.usefixtures("class_reader")
def test_a_lump_that_was_cut_off_is_told_in_the_flags(model: Path, tmp_path: Path) -> None:
    write_nifti(tmp_path / "ct.nii.gz", leaking("R")[0])
    (tmp_path / "out").mkdir()
    flags = json.loads(
        (read(tmp_path / "ct.nii.gz", model, tmp_path / "out") / "inference.json").read_text()
    )["flags"]
    assert [flag for flag in flags if flag.startswith("FLAG bone-lump: femur: ")]


@pytest.mark.slow
def test_the_same_command_elsewhere_gives_the_same_bytes(
    ct: Path, model: Path, out: Path, tmp_path: Path
) -> None:
    again = read(ct, model, tmp_path / "again")
    for path in sorted(path for path in out.rglob("*") if path.is_file() and ".state" not in path.parts):
        assert (again / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_a_folder_of_knees_has_one_table_that_its_dictionary_describes(
    ct: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cts"
    folder.mkdir()
    (folder / "good_side-R").symlink_to(ct)
    (folder / "torn.nii.gz").write_bytes(b"")
    request = InferenceRequest(ct=folder, model=model, out=tmp_path / "out", formats=("nifti", "omezarr"))
    assert infer_all(request, lambda _: PlainLoop()) == 1
    (about,) = json.loads((tmp_path / "out" / "dictionary.json").read_text())["tables"]
    rows = pd.read_parquet(tmp_path / "out" / "knees_read.parquet")
    assert list(rows) == [column["name"] for column in about["columns"]]
    assert list(pd.read_csv(tmp_path / "out" / "knees.csv")) == list(rows)
    assert rows["status"].tolist() == ["done", "failed"]
    assert rows["cubes"].isna().tolist() == [False, True]
    assert not list((tmp_path / "out").rglob("dicom"))
    for_viewers = tmp_path / "out" / "good_side-R" / "omezarr"
    first = phantoms.GRID.index_to_lps((0, 0, 0))
    for stem in ("ct", "bones", "bvtv"):
        whole = ngff_zarr.from_ngff_zarr(str(for_viewers / f"{stem}.ome.zarr")).images[0]
        np.testing.assert_allclose([whole.translation[axis] for axis in "xyz"], first)
        nifti = for_viewers.parent / f"{stem}.nii.gz"
        known = np.rint(phantoms.knee()[0].array) if stem == "ct" else voxels_of(nifti)
        np.testing.assert_array_equal(np.asarray(whole.data), known)


@pytest.mark.slow
def test_where_no_model_is_named_the_reader_that_ships_reads(ct: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["infer", "--ct", str(ct), "--side", "R", "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    record = json.loads((tmp_path / "out" / "inference.json").read_text())
    assert record["model_sha256"] == read_card(SHIPPED_READER).weights
    page = (tmp_path / "out" / "report.html").read_text()
    assert "SIMULATED TRAINING" in page
    assert "the true value of a simulated knee" in page
    assert "the true values of simulated knees" in page


@pytest.mark.slow
def test_a_ct_on_a_server_has_its_results_in_its_study(
    ct: Path, model: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_login(tmp_path, monkeypatch)
    with serving(tmp_path) as orthanc:
        orthanc.put(ct.iterdir())
        of = dcmread(next(ct.iterdir()), stop_before_pixels=True)
        series = f"{orthanc.root}/studies/{of.StudyInstanceUID}/series/{of.SeriesInstanceUID}"
        words = [
            "infer",
            "--model",
            str(model),
            "--ct",
            series,
            "--side",
            "R",
            "--out",
            str(tmp_path / "out"),
        ]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", orthanc.root])
        stored = {uid: dcmread(BytesIO(data)) for uid, data in orthanc.instances().items()}
    assert ended.value.code == 0
    local = [dcmread(path) for folder in (ct, out / "dicom") for path in folder.iterdir()]
    assert stored == {str(one.SOPInstanceUID): one for one in local}


def test_the_reader_that_ships_is_known_to_have_learnt_from_simulated_knees() -> None:
    assert InferenceModel.at(SHIPPED / "ct").simulated
