from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.cluster.executor import RayExecutor, RayTrainer
from srrd_ray.core.errors import ClusterError, InputError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.training import Training
from srrd_ray.pipeline.synthesis_training import SynthesisTraining, train_synthesis
from srrd_ray.stages.shared.aligned_model import write_pair
from srrd_ray.stages.shared.synthesis_card import read_card
from srrd_ray.stages.shared.synthesis_model import load_contrasts, load_model
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.pairs import AlignedPair
from tests.stages.small_run import drive

TINY = CycleGanConfig(start="random", epochs=1, first_guess="none", tile=(16, 16), width=4, blocks=1, downs=1)
LEARNING = AlignedConfig(
    epochs=4, steps=20, blocks=4, slices=2, learning_rate=1e-2, feature_weight=0.0, adversarial_weight=0.0,
    norm="none", average=0.9,
)  # fmt: skip


@dataclass
class ToySlices:
    """Writes slices whose HU are a line of their MR, in place of simulated ones; `broken` cannot be made."""

    broken: tuple[int, ...] = ()
    made: list[int] = field(default_factory=list)

    def __call__(self, folder: Path, number: int, seed: int, _config: CycleGanConfig) -> tuple[Path, ...]:
        if number in self.broken:
            raise InputError("image-constant", "an MR image without contrast")
        self.made.append(number)
        mr = np.random.default_rng((seed, number)).uniform(-1, 2, (12, 20, 24)).astype(np.float32)
        pair = AlignedPair(mr=mr, hu=400 - 300 * mr, weight=np.ones_like(mr), bone=mr < 0)
        return tuple(write_pair(folder / f"{name}.safetensors", pair) for name in ("bssfp", "t1"))


def fit(training: Training, _log: Callable[[str], None]) -> Path:
    drive(training.learners(), training.weights, epochs=LEARNING.epochs)
    return training.weights


def request(folder: Path, knees: int = 4) -> SynthesisTraining:
    return SynthesisTraining(
        out=folder / "out", work=folder / "work", knees=knees, held_out=2, synthesis=TINY, aligned=LEARNING,
        cluster=ClusterConfig(cpus=2, training_workers=1),
    )  # fmt: skip


def test_it_learns_and_says_how_well_it_does_on_knees_that_it_never_saw(tmp_path: Path) -> None:
    slices = ToySlices()
    folder = train_synthesis(request(tmp_path), PlainLoop(), fit, slices)
    assert sorted(slices.made) == list(range(6))
    card = read_card(folder)
    assert card.learnt_from["knees"].startswith("4 simulated")
    assert set(card.figures) == {"bssfp", "t1"}
    assert card.figures["t1"]["field mae_hu"] < 100  # of HU that span 900
    assert load_model(folder)[1] == TINY
    page = (folder / "README.md").read_text()
    assert f"t1, body: MAE, HU | {card.figures['t1']['body mae_hu']:.0f}" in page
    seen = load_contrasts(folder)
    assert seen is not None
    assert len(seen.rows) > 4 * 2, "crops too, of what it learnt from alone"


def test_the_same_command_again_makes_no_knee_anew_and_more_knees_are_added(tmp_path: Path) -> None:
    first = request(tmp_path)
    train_synthesis(first, PlainLoop(), fit, ToySlices())
    more = ToySlices()
    asked = request(tmp_path, knees=5)
    train_synthesis(asked, PlainLoop(), fit, more)
    assert more.made == [6]
    assert asked.training_name(range(7)) != first.training_name(range(6))


def test_too_few_knees_stop_it_before_anything_is_learnt(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"\[school-small\].*5 of 6"):
        train_synthesis(request(tmp_path), PlainLoop(), fit, ToySlices(broken=(3,)))
    assert not (tmp_path / "out").exists()


@pytest.mark.training
def test_on_ray_it_learns_what_it_learns_in_a_plain_loop(cluster: ClusterConfig, tmp_path: Path) -> None:
    asked = request(tmp_path)
    executor, trainer = RayExecutor(asked.cluster), RayTrainer(asked.cluster)
    on_ray = train_synthesis(asked, executor, trainer.fit, ToySlices())
    alone = replace(asked, out=tmp_path / "alone", work=tmp_path / "alone-work")
    here = read_card(train_synthesis(alone, PlainLoop(), fit, ToySlices())).figures
    for sequence, figures in read_card(on_ray).figures.items():
        assert figures == pytest.approx(here[sequence], rel=1e-2)
