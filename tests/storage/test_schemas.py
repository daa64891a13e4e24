import json
import tomllib
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from srrd_ray.core.errors import StoreError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import BoneTransform, Knee, RegistrationQuality
from srrd_ray.core.serial import to_json
from srrd_ray.storage import schemas

NAMES: tuple[schemas.Name, ...] = get_args(schemas.Name)


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_valid_and_its_example_obeys_it(name: schemas.Name) -> None:
    schema = schemas.load_schema(name)
    Draft202012Validator.check_schema(dict(schema))
    examples = schema["examples"]
    assert isinstance(examples, list)
    assert examples
    for example in examples:
        schemas.validate(name, example)


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_every_schema_with_its_version_and_example(name: schemas.Name) -> None:
    text = (schemas.FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{name}.schema.json" in text
    assert schemas.schema_version(name) in text
    examples = schemas.load_schema(name)["examples"]
    assert isinstance(examples, list)
    assert json.dumps(examples[0], ensure_ascii=False) in text


def test_there_is_a_schema_for_each_name_and_no_other() -> None:
    assert sorted(path.name.split(".")[0] for path in schemas.FOLDER.glob("*.schema.json")) == sorted(NAMES)


def test_another_version_stops_with_both_versions_named() -> None:
    with pytest.raises(StoreError, match="got srrd-run/7, expected srrd-run/1") as caught:
        schemas.validate("run", {"schema": "srrd-run/7", "outcomes": []}, "run.json")
    assert caught.value.code == "schema-version"


def test_a_fault_is_named_by_its_place_and_not_by_its_value() -> None:
    with pytest.raises(StoreError, match=r"side: enum fails") as caught:
        schemas.validate(
            "cohort", {"participant_id": "1", "side": "Smith", "kl_grade": 1, "oa": 0, "age": 1, "sex": "F"}
        )
    assert caught.value.code == "schema-invalid"
    assert "Smith" not in str(caught.value)


def test_a_transform_as_it_is_stored_obeys_its_schema() -> None:
    matrix = Geometry.axis_aligned((1, 1, 1), (1, 1, 1)).ijk_to_lps
    quality = RegistrationQuality(accepted=True, reason="", dice=0.9, surface_mm=0.3, correlation=0.5)
    knee = Knee(participant="1", side="L")
    pose = BoneTransform(knee=knee, bone="femur", fixed="ct", moving="mr", matrix=matrix, quality=quality)
    schemas.validate("transform", json.loads(to_json(pose)))


def test_a_wheel_carries_the_schemas_beside_the_package() -> None:
    setup = tomllib.loads((schemas.FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert schemas.FOLDER.name in setup["packages"]["find"]["include"]
    assert "*.json" in setup["package-data"][schemas.FOLDER.name]
