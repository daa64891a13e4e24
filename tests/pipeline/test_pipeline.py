"""The whole pipeline on a small simulated cohort: every stage real, resumable, and repeatable."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from srrd_ray.cli import main
from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import Knee, Side
from srrd_ray.core.volume import Volume
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.nifti_writer import write_nifti
from srrd_ray.pipeline.inference import InferenceRequest, infer_all
from srrd_ray.pipeline.manifest import Manifest
from srrd_ray.pipeline.plan import plan_run
from srrd_ray.pipeline.run import RunRequest, prepare
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_stored
from srrd_ray.storage.paths import local_copy
from srrd_ray.storage.schemas import Name, validate
from srrd_ray.storage.tables import CONTRACTS, read_table
from tests.running import STAGE_NAMES, manifest_of, run
from tests.storage.test_paths import copy_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

SMALL = {
    "distillation": {"folds": 2, "teacher_epochs": 2, "student_epochs": 2, "search": {"epochs": 2}},
    "tune": {"trials": 2, "grace_epochs": 1, "cpus_per_trial": 1},
    "synthesis": {"start": "random", "epochs": 2, "held_out": 0.35},
    "synthesis_aligned": {"epochs": 1},
}


@dataclass(frozen=True)
class Ended:
    """A run of the pipeline that has ended, and where it came from."""

    cohort: Path
    layout: RunLayout
    config: Path
    code: int

    def again(self, out: Path | None = None) -> int:
        """Return the exit code of the same command again; it works in the stages of its plan alone."""
        request = RunRequest(cohort=self.cohort, out=out or self.layout.root, config=self.config)
        plans = plan_run(prepare(request), verify=False)
        code = run(request.cohort, request.out, request.config)
        done = {o.stage for o in manifest_of(request.out).outcomes if o.status == "done"}
        assert {one.stage.name for one in plans if one.count("do") or one.count("redo")} == done
        return code

    def record(self) -> Manifest:
        return manifest_of(self.layout.root)


@pytest.fixture(scope="module")
def ended(
    simulated: Path, cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ended]:
    root = tmp_path_factory.mktemp("pipeline")
    config = root / "run.yaml"
    config.write_text(yaml.safe_dump(SMALL))
    layout = RunLayout(root=root / "run")
    code = run(simulated, layout.root, config)
    yield Ended(cohort=simulated, layout=layout, config=config, code=code)
    shutil.rmtree(root, ignore_errors=True)


def outputs(layout: RunLayout) -> dict[str, bytes]:
    """The bytes of every result; `run.json` and the report hold times."""
    kept = [
        p
        for part in ("volumes", "first", "patches", "tables", "models")
        for p in (layout.root / part).rglob("*")
    ]
    files = [*kept, layout.metrics]
    return {p.relative_to(layout.root).as_posix(): p.read_bytes() for p in sorted(files) if p.is_file()}


def learnt_from(ended: Ended) -> tuple[Knee, Path]:
    """Return the knee of most cubes with MR, and its CT: the bones of some may not have been found."""
    table = read_table(ended.layout.table("predictions"))
    counts = table[table["model"] == "teacher"].groupby(["participant", "side"]).size()
    participant, side = counts.idxmax()
    knee = Knee(participant=participant, side=side)
    return knee, next(ended.cohort.glob(f"sub-*/ct/{knee.key}_ct.nii.gz"))


def read_ct(ended: Ended, ct: Path, out: Path, side: Side | None = None, mask: Path | None = None) -> int:
    """Return the exit code of reading a CT, or a folder of them, by the model of the run."""
    model = ended.layout.model("distilled")
    request = InferenceRequest(ct=ct, model=model, out=out, side=side, bone_mask=mask)
    return infer_all(request, lambda config: RayExecutor(replace(config, cpus=2, object_store_mb=200)))


def times(folder: Path) -> dict[str, int]:
    return {
        p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*/*") if p.is_file()
    }


def test_every_stage_ends_and_every_knee_is_accounted_for(ended: Ended) -> None:
    record = ended.record()
    failed = [o for o in record.outcomes if o.status == "failed"]
    assert ended.code == (1 if failed else 0)
    assert [s.stage for s in record.stages] == list(STAGE_NAMES)
    assert record.state == "finished"
    ended_in = {name: [o for o in record.outcomes if o.stage == name] for name in STAGE_NAMES}
    knees = {o.knee for o in ended_in["ingest"]}
    assert len(knees) == len(ended_in["ingest"]) == 6
    for name in ("synthesize", "register", "patches", "measure", "predict"):
        lost = {o.lost_knee for o in failed if STAGE_NAMES.index(o.stage) < STAGE_NAMES.index(name)}
        assert sorted(o.knee for o in ended_in[name] if o.knee and not o.lost_bone) == sorted(
            k for k in knees if k and k not in lost
        ), name


def test_the_metrics_have_the_keys_that_others_read(ended: Ended) -> None:
    metrics = json.loads(ended.layout.metrics.read_text())
    assert {"median", "p95"} <= set(metrics["registration"]["tre_mm"]["femur"])
    assert {"mae_hu", "psnr_db", "ssim", "held_out", "round_two"} <= set(metrics["synthesis"])
    for model in ("teacher", "distilled", "baseline"):
        for parameter in PARAMETERS:
            assert {"icc", "icc_ci"} <= set(metrics["regression"][model][parameter])
            assert {"icc", "icc_ci"} <= set(metrics["regression_truth"][model][parameter])
    assert {"auc", "auc_ci"} <= set(metrics["diagnosis"]["distilled"])
    assert "delong_p" in metrics["diagnosis"]


RECORDS: dict[str, Name] = {
    r"run\.json": "run",
    r"metrics\.json": "metrics",
    r"\.state/[^/]+/[^/]+\.json": "sidecar",
    r"volumes/[^/]+/transform_(femur|tibia)\.json": "transform",
    r"models/winners\.json": "winners",
    r"models/expected\.json": "expected",
    r"first/[^/]+/transform_(femur|tibia)\.json": "transform",
    r"models/losses-(learn-synthesis|learn-aligned|teach|distil)\.json": "losses",
    r"models/synthesis(-aligned)?/model\.json": "synthesis",
    r"models/synthesis-aligned/choice\.json": "synthesis_choice",
    r"models/diagnosis/model\.json": "diagnosis_models",
    r"models/(teacher|baseline|school|distilled)/model\.json": "model",
}
ELSE = (
    r"volumes/[^/]+/\w+\.ome\.zarr/.+|first/[^/]+/(ct_bones\.ome\.zarr/.+|pair\.safetensors)|patches/shard-\d+\.(zarr/.+|parquet)|models/.+\.safetensors|report\.html|tune/.+|tensorboard/.+"
    r"|citation\.bib|dataset_description\.json|ro-crate-metadata\.json"
    r"|qc/(index|page-\d+)\.html|qc/(thumbnails/)?sub-[^/]+\.webp"
    r"|models/README\.md"
)
"""Read through readers that check them (volumes, patches, weights), or by nobody but people and Ray."""


def test_every_file_of_a_run_obeys_a_contract(ended: Ended) -> None:
    root = ended.layout.root
    for path in (path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        contracts = [contract for pattern, contract in RECORDS.items() if re.fullmatch(pattern, name)]
        if contracts:
            validate(contracts[0], json.loads(path.read_text()), name)
        elif name.startswith("tables/"):
            kind = path.parent.name if "/parts/" in name else path.stem
            read_table(path, contract=CONTRACTS[kind])  # of a knee whose bones were refused without a row
        else:
            assert re.fullmatch(ELSE, name), name


def test_no_patch_is_predicted_by_a_model_that_saw_its_patient(ended: Ended) -> None:
    knees = pd.read_parquet(ended.layout.table("knees")).dropna(subset="fold")
    fold_of = dict(zip(knees["participant"], knees["fold"], strict=True))
    predictions = pd.read_parquet(ended.layout.table("predictions"))
    assert (predictions["participant"].map(fold_of) == predictions["fold"]).all()
    assert set(predictions["model"]) == {"teacher", "baseline", "school", "distilled"}
    assert np.isfinite(predictions[list(PARAMETERS)].to_numpy()).all()


def test_synthetic_ct_is_labelled_as_such(ended: Ended) -> None:
    made = [
        Knee.parse(path.parent.name)
        for path in sorted((ended.layout.root / "volumes").glob("*/sct.ome.zarr"))
    ]
    assert made
    for knee in made:
        assert read_stored(ended.layout.volume(knee, "sct")).synthetic_from == "mr"
        assert read_stored(ended.layout.volume(knee, "ct")).synthetic_from is None


def test_the_search_tried_the_student_without_mr_and_its_winner_is_used(ended: Ended) -> None:
    tune = pd.read_parquet(ended.layout.table("tune"))
    assert (tune.groupby("fold")["kd_weight"].min() == 0).all()
    winners = json.loads(ended.layout.model("winners.json").read_text())["folds"]
    card = json.loads((ended.layout.model("distilled") / "model.json").read_text())
    assert {str(fold["fold"]): fold["hyper"] for fold in card["folds"]} == {
        fold: chosen["hyper"] for fold, chosen in winners.items()
    }


def test_the_same_command_again_skips_everything_and_changes_no_byte(ended: Ended) -> None:
    before = outputs(ended.layout)
    assert ended.again() == ended.code
    statuses = {o.status for o in ended.record().outcomes}
    assert statuses <= {"skipped", "failed"}
    assert outputs(ended.layout) == before


def test_a_deleted_report_is_rebuilt_alone(ended: Ended) -> None:
    ended.layout.report.unlink()
    ended.again()
    assert [o.stage for o in ended.record().outcomes if o.status == "done"] == ["report"]
    assert ended.layout.report.is_file()


def test_a_deleted_prediction_is_redone_with_what_depends_on_it_to_the_same_bytes(ended: Ended) -> None:
    before = outputs(ended.layout)
    part = sorted((ended.layout.root / "tables" / "parts" / "predictions").iterdir())[0]
    part.unlink()
    ended.again()
    done = {o.stage for o in ended.record().outcomes if o.status == "done"}
    assert done == {"predict", "classify", "compare-diagnosis", "evaluate", "report"}
    assert outputs(ended.layout) == before


@pytest.mark.skipif("SRRD_LONG_TESTS" not in os.environ, reason="takes 6 min more: set SRRD_LONG_TESTS=1")
def test_a_whole_run_in_an_object_store_gives_the_same_bytes(ended: Ended, bucket: Path) -> None:
    cohort, out = copy_up(ended.cohort, bucket / "cohort"), bucket / "run"
    assert run(cohort, out, ended.config) == ended.code
    with local_copy(out) as copy:
        assert outputs(RunLayout(root=copy)) == outputs(ended.layout)
    assert run(cohort, out, ended.config) == ended.code
    record = manifest_of(out)
    assert {o.status for o in record.outcomes} <= {"skipped", "failed"}


def test_a_new_ct_in_an_object_store_is_read_as_on_disk(ended: Ended, bucket: Path, tmp_path: Path) -> None:
    knee, ct = learnt_from(ended)
    read_ct(ended, ct, tmp_path / "out", knee.side)
    shutil.copytree(ended.layout.root / "models", tmp_path / "run" / "models")
    shutil.copy(ended.layout.metrics, tmp_path / "run")  # says that the knees were simulated
    copy_up(tmp_path / "run", bucket / "run")
    copy_up(ct.parent, bucket / "ct")
    with pytest.raises(SystemExit) as end:
        main(
            ["infer", "--model", str(bucket / "run" / "models" / "distilled"), "--ct", str(bucket / "ct" / ct.name),
             "--out", str(bucket / "out"), "--side", knee.side]
        )  # fmt: skip
    assert end.value.code == 0
    for path in sorted(path for path in (tmp_path / "out").iterdir() if path.is_file()):
        assert (bucket / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_model_reads_a_new_ct(ended: Ended, tmp_path: Path) -> None:
    knee, ct = learnt_from(ended)
    assert read_ct(ended, ct, tmp_path / "out", knee.side) == 0
    record = json.loads((tmp_path / "out" / "inference.json").read_text())
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    cubes = pd.read_parquet(tmp_path / "out" / "cubes.parquet")
    assert (tmp_path / "out" / "report.html").is_file()
    assert record["in_distribution"], "one of the few knees that it learnt from"
    assert table["cubes"].sum() == record["cubes"] == len(cubes)
    assert set(table["bone"]) == set(cubes["bone"]) <= {"femur", "tibia"}
    assert np.isfinite(table[list(PARAMETERS)].to_numpy()).all()


def test_bones_that_are_given_are_read_as_those_that_are_found(ended: Ended, tmp_path: Path) -> None:
    knee, ct = learnt_from(ended)
    read_ct(ended, ct, tmp_path / "found", knee.side)
    assert read_ct(ended, ct, tmp_path / "given", knee.side, tmp_path / "found" / "bones.nii.gz") == 0
    for name in ("bones.nii.gz", "table.csv", "cubes.parquet"):
        assert (tmp_path / "given" / name).read_bytes() == (tmp_path / "found" / name).read_bytes(), name
    record = json.loads((tmp_path / "given" / "inference.json").read_text())
    assert (
        "INFO mask-given: bones as the given mask has them: femur label 1, tibia label 2" in record["flags"]
    )


def test_each_ct_of_a_folder_is_read_as_if_alone_and_a_torn_one_stops_no_other(
    ended: Ended, tmp_path: Path
) -> None:
    knee, ct = learnt_from(ended)
    folder, out, good = tmp_path / "cts", tmp_path / "out", f"first-visit-a_side-{knee.side}"
    (folder / "first visit").mkdir(parents=True)
    shutil.copy(ct, folder / "first visit" / f"a_side-{knee.side}.nii.gz")
    (folder / "=b.nii.gz").write_bytes(ct.read_bytes()[:1000])
    assert read_ct(ended, folder, out) == 1
    table = pd.read_csv(out / "knees.csv", index_col="results")
    assert table["status"].to_dict() == {"b": "failed", good: "done"}
    assert table.loc["b", "code"]
    assert table.loc["b", "ct"] == "'=b.nii.gz"
    assert table.filter(like="tibia.medial.").loc[good].notna().all()
    read_ct(ended, folder / "first visit" / f"a_side-{knee.side}.nii.gz", tmp_path / "alone", knee.side)
    for path in (path for path in (tmp_path / "alone").iterdir() if path.is_file()):
        assert (out / good / path.name).read_bytes() == path.read_bytes(), path.name


def test_only_a_ct_that_is_new_or_has_changed_is_read_again(ended: Ended, tmp_path: Path) -> None:
    knee, ct = learnt_from(ended)
    folder, out = tmp_path / "cts", tmp_path / "out"
    folder.mkdir()
    shutil.copy(ct, folder / "a.nii.gz")
    assert read_ct(ended, folder, out, knee.side) == 0
    before = times(out)
    shutil.copy(ct, folder / "b.nii.gz")
    assert read_ct(ended, folder, out, knee.side) == 0
    assert {name: when for name, when in times(out).items() if name in before} == before
    assert pd.read_csv(out / "knees.csv")["status"].tolist() == ["done", "done"]


def test_both_knees_of_a_scan_are_read_each_in_a_folder_of_its_side(ended: Ended, tmp_path: Path) -> None:
    knee, ct = learnt_from(ended)
    both = both_knees(read_image(ct, "ct").volume, knee.side)
    (tmp_path / "cts").mkdir()
    write_nifti(tmp_path / "cts" / "legs.nii.gz", both)
    assert read_ct(ended, tmp_path / "cts", tmp_path / "out") == 0
    table = pd.read_csv(tmp_path / "out" / "knees.csv", index_col="side")
    assert table["results"].to_dict() == {"L": "legs/L", "R": "legs/R"}
    assert set(table["ct"]) == {"legs.nii.gz"}
    assert table.loc["L", "cubes"] == pytest.approx(table.loc["R", "cubes"], rel=0.2), "mirror images"
    assert table.filter(like=".BV/TV").loc["L"].to_numpy() == pytest.approx(
        table.filter(like=".BV/TV").loc["R"].to_numpy(), abs=0.03
    )


def both_knees(one: Volume[np.generic], side: Side) -> Volume[np.int16]:
    """Return a scan of a knee of a side and of its mirror image, 80 mm of air between them."""
    spacing = one.geometry.spacing_mm
    left = one.array if side == "L" else one.array[:, :, ::-1]
    gap = np.full((*left.shape[:2], round(80 / spacing[2])), -1000, np.int16)
    legs = np.concatenate([left[:, :, ::-1], gap, left], axis=2).astype(np.int16)
    return Volume(array=legs, geometry=Geometry.axis_aligned(legs.shape, spacing))
