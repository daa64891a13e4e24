"""What the tables and the configuration already tell is told before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cli import main
from srrd_ray.cohort.tables import Cohort
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import CohortKnee, Knee, Modality, Series, Side
from srrd_ray.distillation.config import DistillationConfig
from srrd_ray.execution.config import ClusterConfig, TuneConfig
from srrd_ray.patches import PatchConfig
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.limits import limits_of, require_possible
from srrd_ray.synthesis.config import CycleGanConfig
from tests.imaging import makers
from tests.running import STAGE_NAMES, run


def series(knee: Knee, modality: Modality) -> Series:
    return Series(knee=knee, modality=modality, path=Path("x"))


def knee_of(name: str, oa: int | None, images: str = "ct mr", side: Side = "L") -> CohortKnee:
    knee = Knee(participant=name, side=side)
    ct, mr = (series(knee, m) if m in images else None for m in ("ct", "mr"))
    return CohortKnee(knee=knee, ct=ct, mr=mr, kl_grade=None, oa=oa, age=None, sex=None, masks=())


def cohort_of(*knees: CohortKnee) -> Cohort:
    return Cohort(root=Path("cohort"), knees=tuple(sorted(knees, key=lambda one: one.knee.key)))


def people(number: int, images: str = "ct mr") -> Cohort:
    return cohort_of(*(knee_of(f"{n:03d}", n % 2, images) for n in range(number)))


def config_of(folds: int = 2, **options: object) -> RunConfig:
    return replace(RunConfig(distillation=DistillationConfig(folds=folds)), **options)  # type: ignore[arg-type]


def codes(cohort: Cohort, config: RunConfig, until: str = "report") -> dict[str, bool]:
    stages = STAGE_NAMES[: STAGE_NAMES.index(until) + 1]
    found = limits_of(config, cohort, stages)
    return {limit.error.code: limit.stops for limit in reversed(found)}


def test_a_cohort_of_forty_has_no_limit() -> None:
    assert codes(people(40), RunConfig()) == {}


def test_an_algorithm_of_the_search_without_its_library_stops_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(tune=TuneConfig(algorithm="tpe"))
    assert codes(people(40), config) == {}
    monkeypatch.setattr("srrd_ray.distillation.proposals.find_spec", lambda _: None)
    assert codes(people(40), config) == {"search-missing": True}
    assert codes(people(40), config, until="teach") == {}


def test_a_network_of_ones_own_is_not_dropped_without_a_word() -> None:
    own = RunConfig(synthesis=CycleGanConfig(width=64, epochs=5))
    assert codes(people(40), own) == {"setting-invalid": True}
    with pytest.raises(ConfigError, match=r"got synthesis\.width, .* synthesis\.start: random"):
        require_possible(own, people(40), STAGE_NAMES)
    random = RunConfig(synthesis=CycleGanConfig(start="random", width=64, epochs=5))
    assert codes(people(40), random) == {}


@pytest.mark.parametrize(("folds", "patients"), [(17, 16), (3, 2), (2, 1)])
def test_more_folds_than_patients_stop_a_run_that_makes_folds(folds: int, patients: int) -> None:
    assert codes(people(patients), config_of(folds))["folds-invalid"]
    assert codes(people(patients), config_of(folds), until="measure") == {}
    with pytest.raises(ConfigError, match=f"{folds} folds, {patients} patients"):
        require_possible(config_of(folds), people(patients), STAGE_NAMES)


def test_two_knees_of_one_patient_are_one_patient() -> None:
    cohort = cohort_of(knee_of("1", 0, side="L"), knee_of("1", 1, side="R"))
    assert codes(cohort, config_of(2))["folds-invalid"]


def test_a_knee_without_an_image_is_no_patient() -> None:
    cohort = cohort_of(knee_of("1", 0), knee_of("2", 1, images=""))
    assert codes(cohort, config_of(2))["folds-invalid"]


@pytest.mark.parametrize("images", ["ct", "mr"])
def test_a_modality_that_no_knee_has_stops_the_learning(images: str) -> None:
    assert codes(people(40, images), RunConfig())["images-missing"]
    assert codes(people(40, images), RunConfig(), until="ingest") == {}


def test_a_fold_that_tests_all_who_could_be_learnt_from_stops() -> None:
    cohort = cohort_of(knee_of("1", 0), *(knee_of(f"{n}", 0, images="ct") for n in range(2, 6)))
    assert codes(cohort, config_of(2))["fold-thin"]


def test_two_patients_are_enough_for_a_run_and_it_says_what_it_cannot_show(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert codes(people(2), config_of(2)) == {"fold-thin": False, "classes-few": False, "patients-few": False}
    require_possible(config_of(2), people(2), STAGE_NAMES)
    assert caplog.text.count("[fold-thin]") == 2
    assert "no agreement can be estimated" in caplog.text
    assert "got 2 patients, expected 3 for an ICC" in caplog.text


@pytest.mark.parametrize("patients", [3, 4])
def test_what_too_few_patients_are_said_to_miss_is_what_they_miss(patients: int) -> None:
    said = [str(one.error) for one in limits_of(config_of(2), people(patients), STAGE_NAMES)]
    text = next(words for words in said if "patients-few" in words)
    assert f"got {patients} patients, expected 5 at least. Intervals will be null" in text
    assert "ICC" not in text


def test_shards_that_cannot_be_sampled_stop() -> None:
    few = RunConfig(
        distillation=DistillationConfig(folds=2, learn_from=4), patches=PatchConfig(knees_per_shard=5)
    )
    assert codes(people(30), few)["learn-from-shard"]
    enough = replace(few, patches=PatchConfig(knees_per_shard=4))
    assert "learn-from-shard" not in codes(people(30), enough)
    assert "learn-from-shard" not in codes(people(4), few)


def test_one_sampled_shard_whose_patients_are_all_of_one_fold_stops() -> None:
    config = RunConfig(
        distillation=DistillationConfig(folds=2, learn_from=1), patches=PatchConfig(knees_per_shard=1)
    )
    assert codes(people(30), config)["fold-thin"]


@pytest.mark.parametrize(("workers", "stops"), [(8, False), (9, True)])
def test_more_workers_than_rows_of_a_step_stop(workers: int, stops: bool) -> None:
    config = config_of(2, cluster=ClusterConfig(training_workers=workers))
    assert codes(people(40), config).get("workers-idle", False) == stops


@pytest.mark.parametrize("labels", [[None] * 30, [0] * 30, [1] * 30, [1, *[0] * 29], [*[1] * 9, *[0] * 21]])
def test_labels_of_which_nothing_can_be_estimated_are_said_and_stop_nothing(labels: list[int | None]) -> None:
    cohort = cohort_of(*(knee_of(f"{n:03d}", label) for n, label in enumerate(labels)))
    assert codes(cohort, RunConfig()) == {"classes-few": False}


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_check_tells_the_limits_of_the_configuration_that_is_given_as_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, config = makers.cohort(tmp_path / "cohort"), tmp_path / "run.yaml"
    config.write_text("distillation: {folds: 3}\n")
    before = code_of("check", str(root))
    said = capsys.readouterr().out
    assert "folds-invalid" in said
    assert "STOP" not in said
    assert "with the defaults" in said
    assert before == 0
    assert code_of("check", str(root), "--config", str(config)) == 1
    assert "STOP   cohort           folds-invalid" in capsys.readouterr().out


def test_a_run_that_cannot_end_writes_nothing(tmp_path: Path) -> None:
    root, config = makers.cohort(tmp_path / "cohort"), tmp_path / "run.yaml"
    config.write_text("distillation: {folds: 3}\n")
    with pytest.raises(ConfigError, match=r"\[folds-invalid\].*--until measure"):
        run(root, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
