from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.errors import ClusterError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.halves import HALVES
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.patches import SubchondralPoint
from srrd_ray.pipeline.evidence import EvidenceRequest, Readings, gather_evidence, sittings
from srrd_ray.pipeline.evidence_table import patient_means, sample_of, write_evidence
from srrd_ray.simulation.school import SchoolKnee
from srrd_ray.stages.patches import patches_of
from srrd_ray.stages.shared.evidence_cubes import EvidenceCubes
from srrd_ray.stages.shared.evidence_ways import MODELS
from srrd_ray.storage import patch_store
from tests.distillation.toys import toy
from tests.stages.small_school import make_school

ERRORS = {"baseline": 2.0, "school": 0.6, "distilled": 0.3, "reader-mr": 0.5, "measured": 1.5}
"""SD of what a model adds to the truth, in SDs of the truth."""


def planted(request: EvidenceRequest, cubes_of_knee: int = 8) -> Readings:
    """Models that are off by known amounts, three times each."""
    plans, rng = request.plan(), np.random.default_rng(0)
    data = toy(cubes_of_knee * len(plans), seed=5)
    patients = np.repeat([plan.knee.participant for plan in plans], cubes_of_knee)
    sides = np.repeat([plan.knee.side for plan in plans], cubes_of_knee)
    oa = np.repeat([plan.oa for plan in plans], cubes_of_knee)
    of_knee = np.repeat(rng.standard_normal((len(plans), 4)), cubes_of_knee, axis=0)
    truth = np.array([0.2, 0.25, 0.7, 0.8]) * (1 + 0.1 * of_knee + 0.1 * oa[:, None])
    regions = [f"{side}-femur-{('medial', 'lateral')[n % 2]}" for n, side in enumerate(sides)]
    data = replace(data, patients=patients, regions=np.array(regions))
    cubes = EvidenceCubes(data=data, truth=truth.astype(np.float32), halves=np.stack([truth] * 6))
    tables = []
    for model, error in ERRORS.items():
        for repeat in range(3):
            for patients_taught in (*request.curve, request.patients):
                off = np.repeat(rng.standard_normal((len(plans), 4)), cubes_of_knee, axis=0) * truth.std(
                    axis=0
                )
                table = pd.DataFrame(truth + error * off, columns=list(PARAMETERS))
                tables.append(
                    table.assign(
                        cube=np.arange(len(cubes)), model=model, patients=patients_taught, repeat=repeat
                    )
                )
    return Readings(cubes=cubes, plans=plans, table=pd.concat(tables, ignore_index=True))


def request(folder: Path, patients: int = 24) -> EvidenceRequest:
    return EvidenceRequest(out=folder / "out", work=folder / "work", patients=patients, curve=(8,))


def test_the_page_ranks_models_by_what_they_were_planted_with(tmp_path: Path) -> None:
    asked = request(tmp_path)
    page = write_evidence(asked, planted(asked), resamples=100).read_text(encoding="utf-8")
    sample = sample_of(planted(asked), asked.patients, asked.seed, resamples=100)
    order = sorted(ERRORS, key=lambda name: -sample.agreement(name).value)
    assert order == ["distilled", "reader-mr", "school", "measured", "baseline"]
    assert sample.gain("distilled", "baseline").low > 0.3
    assert sample.agreement("truth").value == 1
    rows = [line for line in page.splitlines() if "`distilled`) |" in line]
    assert len(rows) == 1
    assert f"{sample.agreement('distilled').value:.2f} [" in rows[0]
    assert len([line for line in page.splitlines() if line.startswith("| 8 |")]) == 1
    facts = json.loads((asked.out / "evidence.json").read_text(encoding="utf-8"))
    assert facts["request"]["patients"] == 24
    assert facts["icc_with_truth"]["distilled"]["BV/TV"] == pytest.approx(sample.by_parameter("distilled")[0])


def test_a_patient_counts_once_however_many_cubes_a_region_has() -> None:
    data = replace(
        toy(8),
        patients=np.array(["a"] * 5 + ["b"] * 3),
        regions=np.array(["x"] * 4 + ["y"] + ["x", "y", "y"]),
    )
    values = np.arange(8.0)
    table = pd.DataFrame(dict.fromkeys(PARAMETERS, values)).assign(cube=np.arange(8))
    means = patient_means(data, table)
    np.testing.assert_allclose(means[:, 0], [(1.5 + 4) / 2, (5 + 6.5) / 2])
    without = patient_means(data, table.assign(**{"Tb.N": [np.nan, *values[1:]]}))
    np.testing.assert_allclose(without[0], (2 + 4) / 2)


def test_every_course_is_held_in_every_fold_and_for_each_number_of_patients(tmp_path: Path) -> None:
    asked = request(tmp_path)
    held = list(sittings(asked))
    assert len(held) == len({sitting.name for sitting in held}) == 1 + 3 * 3 * 3
    assert {sitting.patients for sitting in held if sitting.course == "curve"} == {8}


def write_toy(path: Path, knee: SchoolKnee, _: object) -> int:
    """Write toy cubes in place of simulated ones; what is measured of them in MR is their truth."""
    data = toy(8, seed=int(knee.plan.knee.participant))
    point = SubchondralPoint(bone="femur", compartment="medial", center_lps_mm=(0, 0, 0), depth_mm=7.0)
    arrays = {name: getattr(data, name) for name in ("ct", "ct_mask", "ct_spacing_mm", "mr", "mr_mask")}
    arrays |= {"truth": data.targets, "has_mr": np.ones(8, np.bool_), "coverage": np.ones(8, np.float32)}
    arrays |= {"measured": np.repeat(data.targets[:, None], 1 + len(HALVES), axis=1)}
    patch_store.write_shard(path, arrays, patches_of(path, [(knee.plan.knee, point)] * 8))
    return 8


@pytest.mark.training
def test_the_same_command_again_goes_on_and_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srrd_ray.stages.shared.evidence_cubes.write_evidence_cubes", write_toy)
    school = make_school(tmp_path / "school")
    asked = replace(request(tmp_path, patients=6), readers=str(school), seeds=1, curve=())
    first = gather_evidence(asked, PlainLoop())
    assert set(first.table["model"]) == set(MODELS)
    of_fold = first.table[first.table["model"] == "distilled"]
    assert sorted(of_fold["cube"]) == list(range(len(first.cubes)))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.parquet")}
    again = gather_evidence(asked, PlainLoop())
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.parquet")} == times
    pd.testing.assert_frame_equal(again.table, first.table)


def test_too_few_knees_stop_it_before_anything_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("srrd_ray.stages.shared.evidence_cubes.write_evidence_cubes", broken)
    with pytest.raises(ClusterError, match=r"\[evidence-small\].*0 of 5 knees"):
        gather_evidence(request(tmp_path, patients=4), PlainLoop())
    assert not (tmp_path / "work" / "readings").exists()
