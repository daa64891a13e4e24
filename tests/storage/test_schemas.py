import json
import tomllib
from typing import get_args

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from srrd_ray.core.bones import BONES
from srrd_ray.core.errors import StoreError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.records import BoneTransform, Knee, RegistrationQuality
from srrd_ray.core.serial import to_json
from srrd_ray.storage import schemas
from tests.storage.examples import examples

NAMES: tuple[schemas.Name, ...] = get_args(schemas.Name)


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_valid_and_its_example_obeys_it(name: schemas.Name) -> None:
    Draft202012Validator.check_schema(dict(schemas.load_schema(name)))
    found = examples(name)
    assert found
    for example in found:
        schemas.validate(name, example)


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_every_schema_with_its_version(name: schemas.Name) -> None:
    text = (schemas.FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{name}.schema.json" in text
    assert schemas.schema_version(name) in text


def test_bones_and_parameters_of_the_schemas_are_those_of_the_records() -> None:
    shared = schemas.definitions()
    assert shared["bone"]["enum"] == shared["every_bone"]["required"] == list(BONES)
    for name in ("every_parameter", "measured", "predicted"):
        assert shared[name]["required"] == list(PARAMETERS)
    assert shared["parameter"]["enum"] == list(PARAMETERS)
    assert list(schemas.columns_of("predictions").rules)[: 2 * len(PARAMETERS)] == [
        *PARAMETERS,
        *(parameter.predictive_sd for parameter in PARAMETER_OF.values()),
    ]


@pytest.mark.parametrize("symbol", PARAMETERS)
def test_the_schemas_call_a_parameter_by_its_name_and_unit(symbol: ParameterSymbol) -> None:
    about = PARAMETER_OF[symbol]
    words = f"{about.name}, {about.unit}" if about.unit else about.name
    for kind in ("morphometry", "truth", "predictions"):
        assert schemas.columns_of(kind).rules[symbol]["title"] == words


def test_no_schema_names_a_bone_or_a_parameter_of_its_own() -> None:
    for path in schemas.FOLDER.glob("*.schema.json"):
        text = path.read_text(encoding="utf-8")
        assert not [bone for bone in BONES if f'"{bone}"' in text], path.name
        if path.name != "bone.schema.json":  # what one volume is measured for is a longer list
            assert not [symbol for symbol in PARAMETERS if f'"{symbol}"' in text], path.name


def test_a_reader_of_json_schema_sees_the_same_through_the_references() -> None:
    files = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in schemas.FOLDER.glob("*.json")
    }
    known = [(name, Resource.from_contents(data | {"$id": name})) for name, data in files.items()]
    registry = Registry().with_resources(known)
    for name in NAMES:
        data = files[f"{name}.schema.json"] | {"$id": f"{name}.schema.json"}
        validator = Draft202012Validator(data, registry=registry)
        for example in examples(name):
            validator.validate(example)
            assert validator.is_valid(example | {"bone": "patella"}) == schemas_accept(
                name, example | {"bone": "patella"}
            )


def schemas_accept(name: schemas.Name, data: object) -> bool:
    try:
        schemas.validate(name, data)
    except StoreError:
        return False
    return True


def test_there_is_a_schema_for_each_name_and_no_other() -> None:
    assert sorted(path.name.split(".")[0] for path in schemas.FOLDER.glob("*.schema.json")) == sorted(NAMES)


def test_another_version_stops_with_both_versions_named() -> None:
    with pytest.raises(StoreError, match="got srrd-run/7, expected srrd-run/2") as caught:
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
    setup = tomllib.loads((schemas.FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    assert schemas.FOLDER.name in setup["packages"]["find"]["include"]
    assert "*.json" in setup["package-data"][schemas.FOLDER.name]
