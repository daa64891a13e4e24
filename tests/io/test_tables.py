from pathlib import Path

import pandas as pd
import pytest

from srrd_ray.errors import StoreError
from srrd_ray.io.tables import read_table, write_table

TABLE = pd.DataFrame({"participant": ["A1", "B2"], "BV/TV": [0.25, None]})


def test_a_table_comes_back_and_gives_the_same_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", TABLE)
    write_table(tmp_path / "b.parquet", TABLE.copy())
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet"), TABLE)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("keep", [0, 40, -3])
def test_a_torn_table_is_refused(tmp_path: Path, keep: int) -> None:
    write_table(tmp_path / "a.parquet", TABLE)
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:keep])
    with pytest.raises(StoreError, match="table-unreadable"):
        read_table(tmp_path / "a.parquet")


def test_a_missing_table_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="table-unreadable"):
        read_table(tmp_path / "a.parquet")
    write_table(tmp_path / "a.parquet", TABLE)
    with pytest.raises(StoreError, match="no column 'side'"):
        read_table(tmp_path / "a.parquet", ("participant", "side"))
