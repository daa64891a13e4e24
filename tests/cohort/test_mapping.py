"""A mapping survives being written, edited by hand and read; what is wrong in it has its row named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cohort.mapping import MappingRow, read_mapping, write_mapping
from srrd_ray.core.errors import CohortError

ROW = MappingRow(
    role="ct", participant="001", side="L", side_by="header", modality="CT", images=160,
    description="knee", reason="", patient="0815", series="1.2.3",
)  # fmt: skip


def test_what_is_written_is_read_and_only_its_owner_may(tmp_path: Path) -> None:
    path = tmp_path / "new-cohort.tsv"
    rows = (ROW, replace(ROW, role="skip", side="", series="1.2.4", reason="localizer"))
    write_mapping(path, rows)
    assert read_mapping(path) == rows
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_description_cannot_add_a_cell_a_line_or_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "new-cohort.tsv"
    write_mapping(path, [replace(ROW, description='=HYPERLINK("x")\ta\nb')])
    (row,) = read_mapping(path)
    assert row.series == ROW.series
    assert row.description.startswith("'=")


@pytest.mark.parametrize(
    ("old", "new"),
    [("ct\t001", "xray\t001"), ("001\tL", "001\tleft"), ("001\tL", "../x\tL"), ("001\tL", "001\t")],
)
def test_a_wrong_cell_is_refused_with_its_row(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "new-cohort.tsv"
    write_mapping(path, [ROW])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CohortError, match=r"mapping-invalid.*row 2"):
        read_mapping(path)
