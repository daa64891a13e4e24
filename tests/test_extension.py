"""What is added in few places, shown by adding it: a stage, a loss term and a student network.

Each is a value that is passed where the package passes its own. Put into the package, a stage touches three files: its own,
the tuple in `pipeline/stages.py`, and `pipeline/configuration.py` where it has settings; a loss term two: `losses.py`
(function and `LossTerm`) and `config.py` (weight); a student network two: `networks.py` (class and `case`) and `config.py`
(`Architecture`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.distillation import losses as student_losses
from srrd_ray.distillation.config import Architecture, HyperParameters, NetworkConfig
from srrd_ray.distillation.inference import predict, teacher_outputs
from srrd_ray.distillation.losses import StudentBatch
from srrd_ray.distillation.networks import PatchRegressor, build
from srrd_ray.distillation.step import StudentLearner, TeacherLearner
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.pipeline.run import RunRequest, run
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.pipeline.status import read_status
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_volume
from srrd_ray.storage.tables import write_table
from srrd_ray.synthesis import losses as synthesis_losses
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.losses import Translations
from srrd_ray.synthesis.step import CycleGanLearner
from tests.distillation.toys import SMALL, toy
from tests.imaging import makers
from tests.running import manifest_of

DATA = toy(32)
GAN = CycleGanConfig(tile=(16, 16), width=4, blocks=1, discriminator_width=4, steps=2, batch=4, epochs=1)


def trained(learner: Learner, epochs: int = 1) -> dict[str, float]:
    found: dict[str, float] = {}
    for epoch in range(epochs):
        found = learner.train_epoch(epoch, Shard(), learner.modules())
    return found


def weights(learner: Learner) -> Tensor:
    return torch.cat(
        [p.detach().flatten() for module in learner.modules().values() for p in module.parameters()]
    )


def mean_distance(batch: StudentBatch) -> Tensor:
    """Return how far the student's mean logits lie from the teacher's."""
    return (batch.reading.logits.mean(dim=-1) - batch.guide.logits.mean(dim=-1)).abs().mean()


MEANS = student_losses.LossTerm(name="means", weight=lambda hyper: hyper.kd_weight, value=mean_distance)


def test_a_loss_term_of_the_student_is_one_value_more() -> None:
    outputs = teacher_outputs(TeacherLearner("t", DATA, SMALL, 0).network, DATA)
    usual = StudentLearner("s", DATA, SMALL, 0, outputs)
    more = StudentLearner("s", DATA, SMALL, 0, outputs, terms=(*student_losses.LOSS_TERMS, MEANS))
    assert trained(more).keys() - trained(usual).keys() == {"means"}
    assert not torch.equal(weights(more), weights(usual))


def test_a_term_that_needs_a_teacher_is_no_part_of_the_baseline() -> None:
    usual = StudentLearner("s", DATA, SMALL, 0)
    more = StudentLearner("s", DATA, SMALL, 0, terms=(*student_losses.LOSS_TERMS, MEANS))
    assert trained(more).keys() == trained(usual).keys()
    assert torch.equal(weights(more), weights(usual))


def test_without_a_teacher_every_weight_of_a_term_is_zero() -> None:
    alone = HyperParameters().without_teacher()
    names = {each.name for each in fields(HyperParameters)}
    assert {name for name in names if getattr(alone, name) == 0} == {
        name for name in names if name.endswith("_weight")
    }
    assert not [t for t in student_losses.LOSS_TERMS if t.needs_teacher and t.counts(alone, taught=True)]


def smoothness(seen: Translations) -> Tensor:
    """Return the mean step between neighbouring pixels of the synthetic CT."""
    return seen.fake_ct.diff(dim=-1).abs().mean() + seen.fake_ct.diff(dim=-2).abs().mean()


def test_a_loss_term_of_the_generators_is_one_value_more() -> None:
    rng = np.random.default_rng(0)
    mr, ct = (rng.normal(0, 0.4, (5, 16, 16)).astype(np.float32) for _ in range(2))
    term = synthesis_losses.LossTerm(name="smoothness", weight=lambda _: 0.5, value=smoothness)
    usual = CycleGanLearner(mr, ct, GAN, 3)
    more = CycleGanLearner(mr, ct, GAN, 3, terms=(*synthesis_losses.LOSS_TERMS, term))
    trained(usual)
    trained(more)
    assert not torch.equal(weights(more), weights(usual))


class PlainBlock(nn.Module):
    """One 3³ convolution without a shortcut, on half the grid."""

    def __init__(self, inside: int, outside: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, inside)
        self.conv = nn.Conv3d(inside, outside, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(functional.relu(self.norm(x)))
        return found


def state(network: PatchRegressor) -> Mapping[str, Tensor]:
    return network.state_dict()


def test_a_student_network_is_one_function_more() -> None:
    make = partial(PatchRegressor, block=PlainBlock)
    outputs = teacher_outputs(TeacherLearner("t", DATA, SMALL, 0).network, DATA)
    config = replace(SMALL, student_epochs=4)
    student = StudentLearner("s", DATA, config, 0, outputs, make=make)
    assert isinstance(student.network.blocks[0], PlainBlock)
    first = trained(student)["labels"]
    assert trained(student, 4)["labels"] < first
    mean, sd = predict(student.network, DATA.ct, DATA.ct_mask)
    assert mean.shape == sd.shape == DATA.targets.shape
    assert np.isfinite(mean).all()


@pytest.mark.parametrize("name", get_args(Architecture))
def test_every_architecture_of_a_configuration_can_be_built(name: Architecture) -> None:
    config = NetworkConfig(input="ct", architecture=name, width=4)
    first, second = build(config, 1), build(config, 1)
    assert all(torch.equal(value, state(second)[key]) for key, value in state(first).items())
    reading = first(torch.zeros(2, 1, 8, 16, 16), torch.ones(2, 1, 8, 16, 16))
    assert [f.shape for f in reading.features] == [(2, c, 4, 4, 4) for c in config.channels]


@dataclass(frozen=True, kw_only=True, slots=True)
class CountSettings:
    """What the stage below depends on: a key of the run's configuration."""

    seed: int


def count_voxels(work: Work[CountSettings]) -> Produced:
    """Write how many voxels of a knee's CT are bright."""
    knee = work.item.knees[0]
    ct = read_volume(work.layout.volume(knee, "ct"))
    path = work.layout.part("voxels", knee)
    row = {
        "participant": knee.participant,
        "side": knee.side,
        "bright": int((np.asarray(ct.array, dtype=np.float32) > 300).sum()),
    }
    write_table(path, pd.DataFrame([row | {"seed": work.settings.seed}]))
    return Produced(paths=(path,))


COUNT = Stage(
    name="count-voxels",
    scope="knee",
    function=count_voxels,
    settings=CountSettings,
    needs=("ingest",),
    outputs=("tables/parts/voxels",),
)


def test_a_stage_is_one_declaration_and_a_place_in_the_tuple(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = makers.cohort(tmp_path / "cohort", people=("A1", "B2"))
    request = RunRequest(
        cohort=cohort, out=tmp_path / "run", until="count-voxels", stages=(STAGES[0], COUNT, *STAGES[1:])
    )
    assert run(request, lambda _: PlainLoop()) == 0
    assert "count-voxels" in capsys.readouterr().out
    layout = RunLayout(root=tmp_path / "run")
    knees = read_cohort(cohort).knees
    rows = [pd.read_parquet(layout.part("voxels", knee.knee)) for knee in knees]
    assert all(int(row["bright"].iloc[0]) > 0 for row in rows)
    stages = {stage.stage: (stage.state, stage.of, stage.done) for stage in read_status(layout).stages}
    assert stages["count-voxels"] == ("ended", "knees", len(knees))
    assert stages["register"][0] == "not asked"
    assert run(request, lambda _: PlainLoop()) == 0
    skipped = {outcome.status for outcome in manifest_of(layout.root).outcomes}
    assert skipped == {"skipped"}
