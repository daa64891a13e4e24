from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.serial import from_json, to_json
from srrd_ray.distillation.bins import mean_and_sd
from srrd_ray.distillation.inference import predict, teacher_outputs
from srrd_ray.distillation.together import read_together
from srrd_ray.stages.shared.expected import read_expected
from srrd_ray.stages.shared.fold_training import (
    distilled_learners,
    guided_part,
    read_data,
    save_models,
    teacher_and_baseline_learners,
    training_part,
    with_school_networks,
)
from srrd_ray.stages.shared.models import load_model
from srrd_ray.stages.shared.school_files import hash_school, require_school
from srrd_ray.stages.shared.school_model import (
    SchoolCard,
    judge,
    load_reader,
    read_cubes,
    read_school,
    reader_fingerprint,
)
from srrd_ray.storage.weights import load_tensors
from tests.distillation.toys import toy
from tests.stages.small_run import FOLDS, drive, plan_of, write_run
from tests.stages.small_school import SCHOOL, make_school


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_school(tmp_path_factory.mktemp("school")))


def test_the_card_says_what_was_seen_and_how_well_unseen_knees_are_read(school: str) -> None:
    card = read_school(school)
    assert (card.knees, card.cubes, card.judged_by) == (6, 48, 4)
    assert "simulated knees alone" in card.use
    again = from_json(SchoolCard, to_json(card))
    assert again == card
    for figures in card.figures.values():
        assert set(figures) == set(PARAMETERS)
        assert all(one.low <= one.icc <= one.high for one in figures.values())


def test_a_reader_is_judged_over_the_means_of_knees(school: str) -> None:
    data = toy(8 * 12, seed=77)
    read = read_cubes(load_reader(school, "mr"), "mr", data)
    figures = judge(read, data)
    means = [values.reshape(12, 8, -1).mean(axis=1) for values in (read, data.targets)]
    assert figures["Tb.N"].bias == pytest.approx(float((means[0] - means[1])[:, 3].mean()), abs=1e-5)
    assert figures["Tb.N"].r > 0.5


def test_what_to_expect_of_the_reader_of_ct_stands_in_its_folder(school: str) -> None:
    found = read_expected(Path(school) / "ct")
    assert found is not None
    assert (found.simulated, found.patients, found.women + found.men) == (True, 6, 6)
    of_reader = found.models["reader-ct"]
    assert of_reader.reference == "truth"
    assert [error.parameter for error in of_reader.errors] == list(PARAMETERS)
    assert all(error.patients == 4 and error.rmse > 0 for error in of_reader.errors)


def test_a_folder_that_is_no_school_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[school-missing\].*distillation.school"):
        require_school(str(tmp_path))


def test_the_readers_that_ship_are_whole_small_and_judged() -> None:
    card = read_school("")
    assert card.judged_by >= 50
    assert card.figures["reader-ct"]["BV/TV"].icc > 0.6
    for kind in ("mr", "ct"):
        assert load_reader("", kind) is not None
        assert reader_fingerprint("", kind) is not None
    assert sum(path.stat().st_size for path in require_school("").rglob("*.safetensors")) < 10e6


def test_altered_weights_of_a_reader_are_refused(tmp_path: Path) -> None:
    folder = make_school(tmp_path)
    before = hash_school(str(folder))
    with (folder / "mr" / "fold-0.safetensors").open("ab") as file:
        file.write(b"x")
    assert hash_school(str(folder)) == before  # its card is what the hash is of: it names the weights' hashes
    with pytest.raises(StoreError, match="model-altered"):
        load_reader(str(folder), "mr")


def test_with_labels_of_the_reader_it_is_the_teacher_of_every_fold(school: str, tmp_path: Path) -> None:
    plan = plan_of(write_run(tmp_path / "run"))
    plan = replace(plan, config=with_school_networks(replace(plan.config, labels="reader", school=school)))
    assert plan.config.student == SCHOOL.readers.student
    names = drive(teacher_and_baseline_learners(plan), tmp_path / "weights")
    assert names == [f"fold-{k}_baseline" for k in range(3)]
    save_models(plan, tmp_path / "weights", ("teacher", "baseline"))
    data, reader = toy(16, seed=5), load_reader(school, "mr")
    for network in load_model(plan.layout.model("teacher")).networks.values():
        np.testing.assert_array_equal(
            predict(network, data.mr, data.mr_mask)[0], predict(reader, data.mr, data.mr_mask)[0]
        )
    drive(distilled_learners(plan), tmp_path / "weights", epochs=0)
    start = load_reader(school, "ct").state_dict()["head.centre.weight"]
    for fold in range(3):
        learnt = load_tensors(tmp_path / "weights" / f"fold-{fold}_distilled.safetensors")[0]
        np.testing.assert_array_equal(learnt["network.head.centre.weight"].numpy(), start.numpy())


def test_the_students_labels_are_what_both_readers_read_not_what_was_measured(
    school: str, tmp_path: Path
) -> None:
    plan = plan_of(write_run(tmp_path / "run"))
    config = with_school_networks(replace(plan.config, labels="reader", school=school))
    part = training_part(read_data(plan), FOLDS, 0)
    reader = load_reader(school, "mr")
    guided = guided_part(part, reader, config)
    in_mr = teacher_outputs(reader, part).values().numpy()
    in_ct = read_cubes(load_reader(school, "ct"), "ct", part)
    ways = read_school(school).together
    np.testing.assert_array_equal(guided.data.targets, read_together(ways, in_mr, in_ct))
    said, spread = mean_and_sd(guided.outputs.logits.softmax(dim=-1))
    np.testing.assert_allclose(said.numpy()[:, 0], guided.data.targets[:, 0], atol=0.01)
    np.testing.assert_allclose(spread.numpy()[:, 0], ways["BV/TV"].sd, rtol=0.2)
    scrambled = replace(part, targets=part.targets[::-1])
    again = guided_part(scrambled, reader, config)
    np.testing.assert_array_equal(again.data.targets, guided.data.targets)
    measured = guided_part(part, reader, plan.config)
    np.testing.assert_array_equal(measured.data.targets, part.targets)
    assert measured.start is None
