from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.learner import Shard
from srrd_ray.core.records import Knee
from srrd_ray.core.settings import SettingsError
from srrd_ray.core.volume import Volume
from srrd_ray.stages.shared.synthesis_card import GENERATOR, begun, hash_synthesis, read_card
from srrd_ray.stages.shared.synthesis_model import (
    load_contrasts,
    load_model,
    load_way_back,
    save_generators,
    save_model,
    synthesize_knee,
    training_learners,
)
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.weights import save_tensors
from srrd_ray.synthesis.aligned import aligned_networks
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.contrast import contrast, gather_contrasts
from srrd_ray.synthesis.networks import Generator
from tests.registration import phantoms

KNEE = Knee(participant="001", side="R")
CONFIG = CycleGanConfig(
    start="random", width=4, blocks=1, discriminator_width=4, steps=1, batch=2, epochs=1, slice_mm=6.0
)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return a run with CT and MR of one phantom knee and a trained synthesis."""
    made = RunLayout(root=tmp_path)
    ct, _ = phantoms.knee()
    signal = np.clip(1.0 - (ct.array + 50.0) / 1600.0, 0.0, None) * (ct.array > 150) * 80.0
    mr = Volume(array=signal.astype(np.float32), geometry=ct.geometry)
    omezarr.write_volume(made.volume(KNEE, "ct"), ct, knee=KNEE, image="ct", unit="HU")
    omezarr.write_volume(made.volume(KNEE, "mr"), mr, knee=KNEE, image="mr", unit="au")
    (learner,) = training_learners([made.volume(KNEE, "mr")], [made.volume(KNEE, "ct")], CONFIG, 1)
    learner.train_epoch(0, Shard(), learner.modules())
    tensors = {f"{n}.{k}": v for n, m in learner.modules().items() for k, v in m.state_dict().items()}
    save_tensors(tmp_path / "weights" / "cyclegan.safetensors", tensors, {"learner": learner.name})
    save_model(tmp_path / "weights", made.model("synthesis"), CONFIG)
    return made


def test_a_knee_gets_a_synthetic_ct_on_the_grid_of_its_mr_and_labelled_synthetic(layout: RunLayout) -> None:
    stored = synthesize_knee(KNEE, layout, layout.model("synthesis"), CONFIG)
    assert (stored.image, stored.unit, stored.synthetic_from) == ("sct", "HU", "mr")
    assert stored.geometry == omezarr.read_stored(layout.volume(KNEE, "mr")).geometry


def test_weights_that_were_altered_are_refused_and_missing_ones_named(
    layout: RunLayout, tmp_path: Path
) -> None:
    _, config = load_model(layout.model("synthesis"))
    assert config == CONFIG
    path = layout.model("synthesis") / "mr_to_ct.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(StoreError) as caught:
        load_model(layout.model("synthesis"))
    assert caught.value.code == "model-altered"
    with pytest.raises(StoreError) as missing:
        load_model(tmp_path / "none")
    assert missing.value.code == "model-missing"


def test_an_implausible_synthetic_is_refused_and_not_written(layout: RunLayout) -> None:
    strict = CycleGanConfig(hu_limits=(0.0, 1.0))
    with pytest.raises(InputError) as caught:
        synthesize_knee(KNEE, layout, layout.model("synthesis"), strict)
    assert caught.value.code == "synthesis-range"
    assert not layout.volume(KNEE, "sct").exists()


def test_round_one_may_begin_at_what_simulated_knees_taught(layout: RunLayout, tmp_path: Path) -> None:
    school = replace(CONFIG, first_guess="none", floor_hu=-1000.0, width=8, pixel_mm=1.5)
    weights = Generator(school).state_dict()
    save_generators({GENERATOR: weights}, tmp_path / "school", school, (), learnt_from={"knees": "1"})
    asked = replace(CONFIG, start="school", school=str(tmp_path / "school"), steps=3, start_rate=1e-9)
    config, start = begun(asked)
    assert (config.width, config.pixel_mm, config.floor_hu, config.steps) == (8, 1.5, -1000.0, 3)
    (learner,) = training_learners([layout.volume(KNEE, "mr")], [layout.volume(KNEE, "ct")], config, 1, start)
    begins = {k: v.clone() for k, v in learner.modules()[GENERATOR].state_dict().items()}
    learner.train_epoch(0, Shard(), learner.modules())
    for name, value in learner.modules()[GENERATOR].state_dict().items():
        assert torch.equal(begins[name], weights[name])
        assert torch.allclose(value, begins[name], atol=1e-6), "it goes on in small steps"
    assert aligned_networks(config, AlignedConfig(norm="instance")).norm == school.norm
    assert hash_synthesis(str(tmp_path / "school")) != hash_synthesis(str(layout.model("synthesis")))


def test_the_contrasts_that_it_began_from_stay_with_the_model(layout: RunLayout, tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 8)).astype(np.float32)
    seen = gather_contrasts({f"knee-{n}": [contrast(one)] for n, one in enumerate(images)})
    kept = {GENERATOR: Generator(CONFIG).state_dict()}
    school = save_generators(kept, tmp_path / "school", CONFIG, (), learnt_from={"knees": "4"}, seen=seen)
    save_model(tmp_path / "weights", layout.model("begun"), CONFIG, ("001",), school)
    read = load_contrasts(layout.model("begun"))
    assert read is not None
    assert np.array_equal(read.rows, seen.rows)
    assert (read.limit, read.spread.tolist()) == (seen.limit, seen.spread.tolist())
    assert load_contrasts(layout.model("synthesis")) is None
    (layout.model("begun") / "contrasts.safetensors").unlink()
    with pytest.raises(StoreError, match="model-altered"):
        load_contrasts(layout.model("begun"))


def test_without_epochs_the_model_of_round_one_is_the_schools_and_has_no_way_back(tmp_path: Path) -> None:
    weights = Generator(CONFIG).state_dict()
    school = save_generators(
        {GENERATOR: weights}, tmp_path / "school", CONFIG, (), learnt_from={"knees": "4"}
    )
    asked = replace(CONFIG, start="school", epochs=0)
    folder = save_model(None, tmp_path / "model", asked, ("001",), school)
    made, config = load_model(folder)
    assert all(torch.equal(value, weights[name]) for name, value in made.state_dict().items())
    assert (config, read_card(folder).held_out, read_card(folder).learnt_from) == (
        asked,
        ("001",),
        {"knees": "4"},
    )
    assert load_way_back(folder) is None
    with pytest.raises(SettingsError, match="epochs"):
        replace(CONFIG, start="random", epochs=0)


def test_a_school_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    assert begun(CONFIG) == (CONFIG, None)
    with pytest.raises(StoreError, match=r"model-missing.*train_synthesis"):
        begun(replace(CONFIG, start="school", school=str(tmp_path / "nowhere")))


def test_a_modality_without_volumes_stops_the_training() -> None:
    with pytest.raises(InputError) as caught:
        next(training_learners([], [], CONFIG, 1))
    assert caught.value.code == "slices-invalid"
