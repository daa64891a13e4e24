from __future__ import annotations

import re
from typing import Any

import pytest

from srrd_ray.core.json_tree import Json
from srrd_ray.report.metadata import CONFORMS, RO_CRATE, File, dataset_description, ro_crate

MANIFEST: dict[str, Json] = {"software": "0.2.0", "cohort": "ab" * 32, "knees": 18}
SIMULATED: dict[str, Json] = {"cohort": {"simulated": True}}
FILES = (
    File(path="report.html", name="Report", kind="text/html"),
    File(path="tables/knees.parquet", name="Knees", kind="application/vnd.apache.parquet"),
)
Entities = dict[str, dict[str, Any]]  # JSON-LD of which the structure is tested here


@pytest.fixture(scope="module")
def entities() -> Entities:
    crate: Any = ro_crate(MANIFEST, SIMULATED, FILES, "2026-11-27")
    assert crate["@context"] == f"{CONFORMS}/context"
    assert len({one["@id"] for one in crate["@graph"]}) == len(crate["@graph"]), "an entity stands once"
    return {one["@id"]: one for one in crate["@graph"]}


def test_the_crate_has_its_descriptor_and_its_root(entities: Entities) -> None:
    about = entities[RO_CRATE]
    assert about["@type"] == "CreativeWork"
    assert about["conformsTo"] == {"@id": CONFORMS}
    root = entities[about["about"]["@id"]]
    assert (about["about"]["@id"], root["@type"]) == ("./", "Dataset")
    assert root["name"]
    assert root["description"]
    assert root["license"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", root["datePublished"])


def test_every_file_is_a_part_and_described(entities: Entities) -> None:
    parts = [part["@id"] for part in entities["./"]["hasPart"]]
    assert parts == [file.path for file in FILES]
    for file in FILES:
        assert entities[file.path]["@type"] == "File"
        assert entities[file.path]["encodingFormat"] == file.kind


def test_every_reference_leads_to_an_entity_of_the_crate(entities: Entities) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            return (
                [value["@id"]]
                if set(value) == {"@id"}
                else [r for v in value.values() for r in references(v)]
            )
        return [r for one in value for r in references(one)] if isinstance(value, list) else []

    for entity in entities.values():
        for reference in references({k: v for k, v in entity.items() if k not in ("@id", "conformsTo")}):
            assert reference in entities


def test_that_knees_are_simulated_is_said_to_machines_too(entities: Entities) -> None:
    assert "no patient" in entities["./"]["description"]
    assert "simulated" in str(dataset_description(MANIFEST, SIMULATED)["Name"])
    assert "simulated" not in str(dataset_description(MANIFEST, {"cohort": {"simulated": False}})["Name"])


def test_the_description_has_what_bids_requires_of_a_derivative() -> None:
    found: Any = dataset_description(MANIFEST, None)
    assert found["Name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["BIDSVersion"])
    assert found["DatasetType"] == "derivative"
    assert found["GeneratedBy"][0] == {"Name": "SRRD-Ray", "Version": "0.2.0"}
