"""Stored records and tables obey their schema, and what does not is refused when it is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from srrd_ray.core.errors import StoreError
from srrd_ray.core.geometry import matrix4
from srrd_ray.core.records import BoneTransform, Knee, RegistrationQuality
from srrd_ray.storage.record_files import read_record, write_record
from srrd_ray.storage.schemas import load_schema, validate_rows
from srrd_ray.storage.tables import CONTRACTS, read_table, write_table
from tests.storage.examples import examples

POSE = BoneTransform(
    knee=Knee(participant="017", side="L"),
    bone="femur",
    fixed="ct",
    moving="mr",
    matrix=matrix4(np.eye(4)),
    quality=RegistrationQuality(accepted=True, reason="", dice=0.9, surface_mm=0.4, correlation=0.7),
)


def rows(name: str) -> pd.DataFrame:
    return pd.DataFrame(examples(CONTRACTS[name]) * 3)


def test_a_record_comes_back_and_names_its_version(tmp_path: Path) -> None:
    write_record(tmp_path / "pose.json", POSE, "transform")
    assert json.loads((tmp_path / "pose.json").read_text())["schema"] == "srrd-transform/1"
    assert read_record(BoneTransform, tmp_path / "pose.json", "transform") == POSE


def test_a_record_of_another_version_stops_with_both_versions_named(tmp_path: Path) -> None:
    write_record(tmp_path / "pose.json", POSE, "transform")
    text = (tmp_path / "pose.json").read_text().replace("srrd-transform/1", "srrd-transform/9")
    (tmp_path / "pose.json").write_text(text)
    with pytest.raises(StoreError, match="srrd-transform/9") as caught:
        read_record(BoneTransform, tmp_path / "pose.json", "transform")
    assert caught.value.code == "schema-version"
    assert "srrd-transform/1" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bone": "femur"}'])
def test_a_torn_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pose.json").write_text(text)
    with pytest.raises(StoreError):
        read_record(BoneTransform, tmp_path / "pose.json", "transform")


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_table_comes_back_and_names_its_version(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / "t.parquet", rows(name), CONTRACTS[name])
    assert (
        pq.read_schema(tmp_path / "t.parquet").metadata[b"srrd"].decode()
        == load_schema(CONTRACTS[name])["$id"]
    )
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet", contract=CONTRACTS[name]), rows(name))


@pytest.mark.parametrize(
    ("column", "value"),
    [("side", "Smith"), ("participant", "a b"), ("BV/TV", 1.5), ("Tb.Th", -0.1), ("row", -1), ("bone", None)],
)
def test_a_value_against_the_contract_is_neither_written_nor_read(
    tmp_path: Path, column: str, value: object
) -> None:
    table = rows("measures").astype({column: object})
    table.loc[1, column] = value
    table = table.infer_objects()
    with pytest.raises(StoreError, match=column):
        write_table(tmp_path / "t.parquet", table, "morphometry")
    assert not (tmp_path / "t.parquet").exists()


def test_a_missing_and_an_unknown_column_are_refused() -> None:
    with pytest.raises(StoreError, match="srrd-predictions/2"):
        validate_rows("predictions", rows("predictions").drop(columns="fold"))
    with pytest.raises(StoreError, match="surname"):
        validate_rows("predictions", rows("predictions").assign(surname="x"))


def test_a_table_of_no_or_another_version_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", rows("measures"))
    with pytest.raises(StoreError, match="srrd-morphometry/1") as caught:
        read_table(tmp_path / "t.parquet", contract="morphometry")
    assert caught.value.code == "schema-version"


def test_nulls_are_allowed_where_the_schema_says_so_and_an_empty_table_is_valid() -> None:
    table = rows("measures")
    table.loc[0, ["Tb.Th", "Tb.N"]] = np.nan
    validate_rows("morphometry", table)
    validate_rows("morphometry", table.iloc[:0])
