from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.measurement.table import Row, read_rows, read_rows_of, write_rows
from tests.storage.examples import examples


def example(**changes: float | int | str | None) -> Row:
    row = {
        key: value
        for key, value in examples("bone")[0].items()
        if isinstance(value, float | int | str | None)
    }
    return row | changes


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_rows_come_back_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    rows = [example(), example(image="b.nii", status="no-bone", **{"Tb.Th": None, "Tb.Sp": 0.1 + 0.2})]
    write_rows(tmp_path / f"rows{suffix}", rows)
    assert read_rows(tmp_path / f"rows{suffix}") == rows


@pytest.mark.parametrize("name", ["=1+1.nii", "+a.nii", "-a.nii", "@a.nii", "'quoted.nii"])
def test_a_name_that_a_spreadsheet_would_run_is_made_harmless(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / "rows.csv", [example(image=name, message=f"{name} is bad", code="a-code")])
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[1].startswith(f"'{name}")
    assert read_rows(tmp_path / "rows.csv")[0]["image"] == name


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_row_that_breaks_the_schema_is_refused_on_both_ways(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    with pytest.raises(StoreError, match="schema-invalid"):
        write_rows(path, [example(**{"BV/TV": 1.5})])
    write_rows(path, [example(**{"BV/TV": 0.125})])
    if suffix == ".csv":
        path.write_text(path.read_text().replace("0.125", "7.125"))
        with pytest.raises(StoreError, match="schema-invalid"):
            read_rows(path)


def test_a_table_has_one_of_two_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="table-format"):
        write_rows(tmp_path / "rows.xlsx", [])


TABLE = ("a.nii", "b.nii")


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda text: text.replace(",", ";"), "columns"),
        (lambda text: text.replace("0.125", '"0,125"'), "'0,125' in column BV/TV"),
        (lambda text: "".join(f"{line},x\n" for line in text.splitlines()), "columns 'x'"),
        (lambda text: text.replace("0.125", "about 0.1"), "'about 0.1' in column BV/TV"),
    ],
    ids=["semicolons", "decimal commas", "a column more", "words"],
)
def test_a_table_that_another_program_wrote_is_refused_and_kept(
    tmp_path: Path, change: Callable[[str], str], got: str
) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, [example(image=name, **{"BV/TV": 0.125}) for name in TABLE])
    path.write_text(change(path.read_text()))
    with pytest.raises(StoreError, match="table-altered") as caught:
        read_rows(path)
    assert got in str(caught.value)


def test_an_empty_file_is_no_table_and_what_to_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    with pytest.raises(StoreError, match=r"table-unreadable.* an empty file.* Name another table"):
        read_rows(tmp_path / "rows.csv")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_rows_of_other_images_are_never_lost(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    assert read_rows_of(path, TABLE) == []
    write_rows(path, [example(image=name) for name in TABLE])
    assert [row["image"] for row in read_rows_of(path, (*TABLE, "c.nii"))] == list(TABLE)
    with pytest.raises(ConfigError, match=r"table-other-images.* 1 of 2 rows: b\.nii"):
        read_rows_of(path, ["a.nii"])
