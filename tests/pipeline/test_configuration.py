"""Configurations: what is written comes back, every example is valid, and no field takes what it cannot mean."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import is_dataclass
from math import inf, nan
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.settings import (
    Above,
    AbsoluteOrEmpty,
    AtLeast,
    Between,
    NotEmpty,
    Rising,
    TwoOrNone,
    hints_of,
)
from srrd_ray.pipeline.configuration import RunConfig, read_config

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def records(kind: type, key: str = "") -> dict[str, type]:
    """The record of settings under each dotted key of a run."""
    found = {key: kind}
    for name, hint in hints_of(kind).items():
        if isinstance(hint, type) and is_dataclass(hint):
            found |= records(hint, f"{key}.{name}" if key else name)
    return found


RECORDS = records(RunConfig)
FIELDS = [(key, name) for key, kind in RECORDS.items() for name in hints_of(kind)]
fields = pytest.mark.parametrize(
    ("key", "name"), FIELDS, ids=[f"{key}.{name}".strip(".") for key, name in FIELDS]
)


def test_the_defaults_survive_json() -> None:
    assert serial.from_json(RunConfig, serial.to_json(RunConfig())) == RunConfig()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_is_a_configuration_that_differs_from_the_defaults(path: Path) -> None:
    assert read_config(path) != RunConfig()


def test_no_file_means_the_defaults() -> None:
    assert read_config(None) == RunConfig()


def test_neither_a_driver_nor_a_worker_imports_what_it_may_not_need() -> None:
    code = "import sys, srrd_ray.pipeline.run; print([m for m in sys.modules if m in sys.argv[1:]])"
    worker, slow = "srrd_ray.pipeline.stages", ["torch", "monai", "matplotlib", "sklearn.linear_model"]
    found = subprocess.run(
        [sys.executable, "-c", code, worker, *slow], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == str([worker]), "a driver loads all that a worker does"


def outside(hint: object) -> st.SearchStrategy[object]:
    """Values that a field may not have, by its annotation."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return st.one_of(outside(arguments[0]), *(beyond(arguments[0], bound) for bound in arguments[1:]))
    if get_origin(hint) is Literal:
        return st.one_of(st.text().filter(lambda text: text not in arguments), st.none(), st.integers())
    if hint is str:
        return st.one_of(st.none(), st.integers(), st.booleans())
    if get_origin(hint) is tuple:
        length = st.nothing() if arguments[-1] is Ellipsis else st.just(())
        return st.one_of(st.none(), st.text(), length, outside(arguments[0]).map(lambda item: (item,)))
    return st.one_of(st.none(), st.text(), st.sampled_from([nan, inf, -inf, 0.5j]))


def beyond(base: object, bound: object) -> st.SearchStrategy[object]:
    """Numbers, or lists, on the wrong side of a bound."""
    whole = base is int
    match bound:
        case AtLeast(low):
            return (
                st.integers(max_value=int(low) - 1) if whole else st.floats(max_value=low, exclude_max=True)
            )
        case Above(low):
            return st.floats(max_value=low)
        case Between(low, high):
            return st.floats(max_value=low, exclude_max=True) | st.floats(min_value=high, exclude_min=True)
        case AbsoluteOrEmpty():
            return st.sampled_from(["models", "./models", "~/models"])
        case NotEmpty():
            return st.just(())
        case TwoOrNone():
            return st.sampled_from([(0.5,), (0.1, 0.2, 0.3)])
        case Rising():
            return st.sampled_from([(0.9, 0.1), (1.0, 0.5)])
        case _:
            raise TypeError(bound)


@fields
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_value_outside_what_a_field_allows_is_refused_by_its_key(
    key: str, name: str, data: st.DataObject
) -> None:
    kind = RECORDS[key]
    value = data.draw(outside(hints_of(kind)[name]))
    with pytest.raises(ConfigError) as caught:
        kind(**{name: value})
    assert caught.value.code == "setting-invalid"
    assert caught.value.what.startswith(f"{name}: ")
    assert ", expected " in caught.value.what


@fields
def test_a_file_with_a_wrong_value_is_refused_by_the_dotted_key(key: str, name: str, tmp_path: Path) -> None:
    tree: object = {name: "senseless"}
    for part in reversed(key.split(".") if key else []):
        tree = {part: tree}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tree))
    dotted = f"{key}.{name}".strip(".")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"[setting-invalid] {dotted}: senseless, expected ")


def bare(hint: object) -> bool:
    """Whether an annotation holds a number without bounds."""
    if get_origin(hint) is Annotated:
        return any(bare(item) for item in get_args(get_args(hint)[0]))
    return hint in (int, float, str) or (
        get_origin(hint) is tuple and any(bare(item) for item in get_args(hint))
    )


def test_no_number_is_without_bounds() -> None:
    assert [(key, name) for key, name in FIELDS if bare(hints_of(RECORDS[key])[name])] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cluster: {gpu: nevr}", "cluster.gpu: nevr, expected auto, require or never"),
        ("cluster: {training_workers: 0}", "cluster.training_workers: 0, expected 1 or more"),
        ("synthesis: {tile: [15, 16]}", "synthesis.tile: [15, 16], expected multiples of 4, for downs 2"),
        (
            "distillation: {student: {width: 6}}",
            "distillation.student.width: 6, expected a multiple of groups (4)",
        ),
        ("tune: {grace_epochs: 5}", "tune.grace_epochs: 5, expected at most distillation.search.epochs (4)"),
    ],
)
def test_settings_that_would_fail_or_mean_something_else_later_are_refused_at_once(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert words in str(caught.value)


def test_wrong_settings_of_several_parts_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("cluster: {cpus: -1, training_workers: 0}\npatches: {pitch_mm: .nan}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    for key in ("patches.pitch_mm", "cluster.cpus", "cluster.training_workers"):
        assert f"{key}: " in str(caught.value)


def test_a_number_that_yaml_takes_for_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("synthesis: {learning_rate: 2e-4, cycle_weight: 3}\n")
    found = read_config(path).synthesis
    assert (found.learning_rate, type(found.cycle_weight)) == (2e-4, float)


def test_reading_a_configuration_loads_no_reader_of_images() -> None:
    code = "import sys, srrd_ray.pipeline.configuration; print([m for m in sys.modules if m in sys.argv[1:]])"
    readers = [
        "pydicom",
        "nibabel",
        "nrrd",
        "zarr",
        "pyarrow",
        "srrd_ray.imaging.images",
        "srrd_ray.storage.objects",
    ]
    found = subprocess.run(
        [sys.executable, "-c", code, *readers], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "[]"
