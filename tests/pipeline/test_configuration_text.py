"""A configuration as text: it reads back, says of every key what it means and may be, and what was changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.core.setting_docs import settings_of
from srrd_ray.pipeline.configuration import RunConfig, read_config
from srrd_ray.pipeline.configuration_text import WIDTH, commented_yaml, differences

PAPER = Path(__file__).resolve().parents[2] / "examples" / "paper.yaml"
SETTINGS = list(settings_of(RunConfig()))


@pytest.mark.parametrize("given", [RunConfig(), read_config(PAPER)], ids=["defaults", "paper"])
def test_what_is_printed_reads_back_as_the_same_configuration(given: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(commented_yaml(given), encoding="utf-8")
    assert read_config(path) == given


def test_every_setting_of_a_run_says_what_it_means() -> None:
    assert [one.key for one in SETTINGS if not one.meaning] == []


def test_every_setting_is_printed_below_what_it_means_and_what_is_allowed() -> None:
    words = " ".join(line.strip(" #") for line in commented_yaml(RunConfig()).splitlines())
    for one in SETTINGS:
        allowed = "" if one.is_group else f" [{one.allowed}]"
        assert f"{one.meaning.replace('`', '')}{allowed} {one.name}:" in words


def test_no_line_of_what_is_printed_is_longer_than_a_terminal() -> None:
    assert [line for line in commented_yaml(RunConfig()).splitlines() if len(line) > WIDTH] == []


def test_what_differs_from_the_defaults_is_told_with_both_values() -> None:
    given = RunConfig()
    given = replace(
        given,
        patches=replace(given.patches, per_region=7),
        distillation=replace(
            given.distillation, search=replace(given.distillation.search, kd_weight=(0.1, 0.5))
        ),
    )
    assert differences(given).splitlines() == [
        "patches.per_region: 7  (default 6)",
        "distillation.search.kd_weight: [0.1, 0.5]  (default [0.0, 0.9])",
    ]
    assert differences(RunConfig()) == "nothing differs from the defaults\n"
