"""Faults 22, 26, 42, 44, 45 and 70 where they meet a run, each made for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.cohort.check import check
from srrd_ray.cohort.tables import MODALITIES, read_cohort
from srrd_ray.core import serial
from srrd_ray.core.errors import CohortError, ConfigError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import CohortKnee, Fault
from srrd_ray.imaging.images import read_image
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.manifest_writer import refuse_other_run
from srrd_ray.stages.ingest import IngestConfig, ingest
from srrd_ray.stages.shared.gather import check_duplicate_images
from srrd_ray.storage.layout import RunLayout
from tests.imaging import makers
from tests.running import writer

HASHES = ("ab" * 32, "cd" * 32)
LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
from srrd_ray.core.errors import StoreError
from srrd_ray.core.geometry import Geometry
from srrd_ray.storage.omezarr import write_volume
from srrd_ray.execution.lock import locked
from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
root = Path(sys.argv[1])
values = np.random.default_rng(0).integers(0, 999, (32, 64, 64)).astype(np.int16)
volume = Volume(array=values, geometry=Geometry.axis_aligned(values.shape, (1, 1, 1)))
try:
    with locked(root):
        write_volume(root / "ct.ome.zarr", volume, knee=Knee(participant="1", side="L"), image="ct", unit="HU")
except StoreError as error:
    sys.exit(f"{error.code}: {sorted(path.name for path in root.iterdir())}")
"""


def knees(root: Path) -> tuple[RunLayout, list[CohortKnee]]:
    """Ingest a cohort and return the run."""
    layout, found = RunLayout(root=root.parent / "run"), list(read_cohort(root).knees)
    for knee in found:
        ingest(knee, layout, IngestConfig())
    return layout, found


def duplicate_cohort(root: Path) -> Path:
    """Return a cohort in which B2 brings the MR of A1 as DICOM, its voxels stored in another order."""
    makers.cohort(root)
    image = read_image(root / "sub-A1/mr/sub-A1_side-L_mr.nii.gz").volume
    (root / "sub-B2/mr/sub-B2_side-L_mr.nii.gz").unlink()
    grid = image.geometry.affine[:, [1, 2, 0, 3]]
    turned = np.ascontiguousarray(image.array.transpose(2, 0, 1)).astype(np.int16)
    z, y, x = turned.shape
    makers.series(
        root / "sub-B2/mr/sub-B2_side-L_mr",
        geometry=Geometry.from_affine((z, y, x), grid),
        values=turned,
        kind=makers.MR,
    )
    return root


def test_22_one_frame_of_reference_for_ct_and_mr_reaches_no_stage(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort", people=("A1",))
    for modality, kind in (("ct", makers.CT), ("mr", makers.MR)):
        (root / f"sub-A1/{modality}/sub-A1_side-L_{modality}.nii.gz").unlink()
        makers.series(root / f"sub-A1/{modality}/sub-A1_side-L_{modality}", kind=kind)
    layout, found = knees(root)
    for modality in MODALITIES:
        assert "1.2.826" not in (layout.volume(found[0].knee, modality) / "zarr.json").read_text()


def test_26_the_words_of_an_unexpected_error_are_scrubbed() -> None:
    fault = Fault.from_error(KeyError("Winterbottom^Agatha of sub-A1"))
    assert fault.code == "unexpected-KeyError"
    assert "Agatha" not in fault.message
    assert "of sub-" in fault.message


def test_26_a_path_in_an_unexpected_error_is_left_out_and_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        serial.from_yaml(RunConfig, tmp_path / "Winterbottom.yaml")
    fault = Fault.from_error(caught.value)
    assert fault.code == "unexpected-FileNotFoundError"
    assert "Winterbottom" not in fault.message
    assert fault.message.startswith("No such file or directory (at ")
    assert "(at serial.py:" in fault.message


def test_42_one_image_in_two_formats_and_orders_of_axes_stops_check_and_learning(tmp_path: Path) -> None:
    root = duplicate_cohort(tmp_path / "cohort")
    finding = next(f for f in check(root).findings if f.code == "leakage-same-image")
    assert finding.severity == "STOP"
    assert "sub-A1_side-L, sub-B2_side-L" in finding.message
    layout, found = knees(root)
    with pytest.raises(CohortError, match="leakage-same-image"):
        check_duplicate_images(layout, [knee.knee for knee in found])


def test_42_one_image_under_another_origin_stops_the_learning(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    moved = np.diag([-0.5, -0.5, 1.0, 1.0])
    moved[:3, 3] = 7.0
    makers.nifti(root / "sub-B2/ct/sub-B2_side-L_ct.nii.gz", makers.bone(), moved)
    layout, found = knees(root)
    with pytest.raises(CohortError, match="leakage-same-image"):
        check_duplicate_images(layout, [knee.knee for knee in found])


@pytest.mark.parametrize(("limit", "code"), [(0, "output-unwritable"), (4096, "output-full")])
def test_44_a_disk_that_takes_no_more_stops_in_words_and_leaves_nothing_half_written(
    tmp_path: Path, limit: int, code: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "run"), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr.strip().splitlines()[-1] == f"{code}: []"


def stored(root: Path, config: RunConfig) -> RunLayout:
    manifest = writer(root, config, cohort=HASHES[0])
    manifest.write("finished", 0)
    return manifest.layout


def test_45_another_configuration_stops_naming_the_setting_and_both_values(tmp_path: Path) -> None:
    layout = stored(tmp_path, RunConfig(seed=1))
    with pytest.raises(ConfigError, match=r"run-differs.*got seed 1, expected seed 5.*--overwrite"):
        refuse_other_run(layout, RunConfig(seed=5), HASHES[0], overwrite=False)
    refuse_other_run(layout, RunConfig(seed=1), HASHES[0], overwrite=False)
    refuse_other_run(layout, RunConfig(seed=5), HASHES[0], overwrite=True)


def test_45_another_cohort_stops_naming_both(tmp_path: Path) -> None:
    layout = stored(tmp_path, RunConfig())
    with pytest.raises(ConfigError, match=r"another cohort.*got tables abab\w+, expected tables cdcd"):
        refuse_other_run(layout, RunConfig(), HASHES[1], overwrite=False)


def test_45_a_run_of_another_version_stops_naming_both(tmp_path: Path) -> None:
    layout = stored(tmp_path, RunConfig())
    data = json.loads(layout.run_json.read_text()) | {"schema": "srrd-run/9", "software": "9.8.7"}
    layout.run_json.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"got srrd-run/9, 9.8.7, expected srrd-run/2, \d"):
        refuse_other_run(layout, RunConfig(), HASHES[0], overwrite=False)


def test_45_a_run_of_the_version_before_stops_naming_it(tmp_path: Path) -> None:
    layout = stored(tmp_path, RunConfig())
    data = json.loads(layout.run_json.read_text()) | {"schema": "srrd-run/1", "software": "0.1.0"}
    knee = {"knee": None, "stage": "ingest", "status": "done", "seconds": 1.0, "error": None}
    old = json.dumps(
        data | {"outcomes": [knee]}, indent=2, sort_keys=True
    )  # "schema" stood behind "outcomes"
    layout.run_json.write_text(old)
    with pytest.raises(ConfigError, match=r"got srrd-run/1, 0.1.0, expected srrd-run/2, \d.*--overwrite"):
        refuse_other_run(layout, RunConfig(), HASHES[0], overwrite=False)
    refuse_other_run(layout, RunConfig(), HASHES[0], overwrite=True)


def test_70_a_description_with_markup_reaches_no_finding_and_no_file(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort", people=("A1",))
    (root / "sub-A1/ct/sub-A1_side-L_ct.nii.gz").unlink()
    files = makers.series(root / "sub-A1/ct/sub-A1_side-L_ct")
    assert b"<script>" in files[0].read_bytes()
    files[3].unlink()
    report = check(root)
    assert [finding.code for finding in report.findings] == ["dicom-gap"]
    assert "script" not in report.table() + serial.to_json(report)
