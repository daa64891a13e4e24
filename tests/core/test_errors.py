"""Errors are carried as objects: one map of classes to exit codes, and a fault gives its error back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import jsonschema
import pytest

from srrd_ray.core.errors import (
    ERRORS,
    STORAGE_LOST,
    ErrorKind,
    InputError,
    StoreError,
    exit_code,
    is_storage_lost,
)
from srrd_ray.core.records import Fault
from srrd_ray.core.serial import from_json, to_json
from srrd_ray.core.settings import SettingFault, SettingsError

SCHEMAS = Path(__file__).resolve().parents[2] / "storage_schemas"
FIELDS = {"where": "sub-1", "got": "3", "expected": "4", "todo": "Mend it."}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_fault_gives_back_the_error_that_it_was_made_of(kind: ErrorKind) -> None:
    error = ERRORS[kind]("some-code", "something is wrong", **FIELDS)
    back = from_json(Fault, to_json(Fault.from_error(error))).as_error()
    assert type(back) is type(error)
    assert (str(back), back.code, back.what, back.where) == (
        str(error),
        "some-code",
        "something is wrong",
        "sub-1",
    )
    assert (back.got, back.expected, back.todo) == ("3", "4", "Mend it.")
    assert str(pickle.loads(pickle.dumps(back))) == str(error)


def test_a_fault_of_another_exception_gives_back_its_code_and_words() -> None:
    back = Fault.from_error(KeyError("Winterbottom^Agatha")).as_error()
    assert back.code == "unexpected-KeyError"
    assert "Agatha" not in str(back)
    assert exit_code(back) == 1


def test_a_fault_of_an_older_run_is_read() -> None:
    old = from_json(Fault, '{"code": "dicom-gap", "message": "[dicom-gap] a slice is missing"}')
    assert old.as_error().code == "dicom-gap"
    assert "a slice is missing" in str(old.as_error())


def test_stored_faults_obey_the_schemas() -> None:
    fault = json.loads(to_json(Fault.from_error(StoreError("output-full", "no room", **FIELDS))))
    run = json.loads((SCHEMAS / "run.schema.json").read_text())
    outcome = run["properties"]["outcomes"]["items"]["properties"]["error"]
    sidecar = json.loads((SCHEMAS / "sidecar.schema.json").read_text())["$defs"]["Fault"]
    for schema in (outcome, sidecar):
        jsonschema.validate(fault, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(fault | {"kind": "OtherError"}, schema)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("InputError", 1), ("CohortError", 2), ("ConfigError", 2), ("StoreError", 3), ("NotEstimableError", 1),
        ("RegistrationError", 1), ("TrainingError", 1), ("ClusterError", 3), ("SrrdError", 1),
    ],
)  # fmt: skip
def test_the_class_of_an_error_says_the_exit_code(kind: ErrorKind, code: int) -> None:
    assert exit_code(ERRORS[kind]("c", "w")) == code
    assert exit_code(Fault.from_error(ERRORS[kind]("c", "w")).as_error()) == code


def test_a_class_without_a_code_of_its_own_has_that_of_its_parent() -> None:
    error = SettingsError([SettingFault("gpu", "nevr", "auto")], "ClusterConfig")
    assert exit_code(error) == 2
    assert Fault.from_error(error).kind == "ConfigError"
    assert exit_code(ValueError("no error of ours")) == 1


def test_lost_storage_is_known_by_its_code_whatever_the_words_say() -> None:
    for code in STORAGE_LOST:
        assert is_storage_lost(StoreError(code, "w"))
        assert is_storage_lost(Fault.from_error(StoreError(code, "w")))
    assert not is_storage_lost(
        InputError("dicom-gap", "the text quotes [output-full] and No space left on device")
    )
