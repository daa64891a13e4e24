from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from srrd_ray.core.errors import StoreError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.storage import tables
from srrd_ray.storage.tables import join_tables, read_table, write_table

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


def measures(participant: str, rows: int, value: float | None = 0.25) -> pd.DataFrame:
    """Return rows of ``measures`` of one knee; without `value` no parameter has one."""
    words = {
        "participant": participant,
        "side": "L",
        "bone": "femur",
        "compartment": "medial",
        "store": "shard-00000",
    }
    values = {"BV/TV": value, "Tb.Th": value, "Tb.Sp": value, "Tb.N": value}
    return pd.DataFrame(
        [{**words, "row": row, **values, "coverage": 1.0, "method": "local"} for row in range(rows)]
    )


def parts(root: Path) -> tuple[list[Path], list[pd.DataFrame]]:
    """Write five parts: the first has no value in any row, one has no rows."""
    held = [
        measures("E", 2, None),
        measures("B", 3),
        measures("C", 1).iloc[:0],
        measures("D", 1),
        measures("A", 2),
    ]
    for number, table in enumerate(held):
        write_table(root / f"{number}.parquet", table, "morphometry")
    return [root / f"{number}.parquet" for number in range(len(held))], held


def test_parts_are_joined_in_their_order_whatever_is_held_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, held = parts(tmp_path)
    monkeypatch.setattr(tables, "AT_ONCE", 2)
    join_tables(tmp_path / "measures.parquet", paths)
    found = read_table(tmp_path / "measures.parquet")
    wanted = pd.concat(
        [table.astype(dict.fromkeys(PARAMETERS, np.float64)) for table in held], ignore_index=True
    )
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    assert found.dtypes["Tb.N"] == np.float64
    assert pq.ParquetFile(tmp_path / "measures.parquet").metadata.num_row_groups == 3


def test_a_part_against_the_contract_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    paths, _ = parts(tmp_path)
    stored = pq.read_table(paths[3])
    index = stored.schema.get_field_index("BV/TV")
    pq.write_table(stored.set_column(index, "BV/TV", [[7.5]]), paths[3])
    with pytest.raises(StoreError, match=r"3\.parquet.*BV/TV"):
        join_tables(tmp_path / "measures.parquet", paths)
    assert not (tmp_path / "measures.parquet").exists()


def test_parts_of_different_columns_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, held = parts(tmp_path)
    write_table(paths[3], held[3].assign(more=1), "morphometry")
    monkeypatch.setattr(tables, "AT_ONCE", 2)
    with pytest.raises(StoreError, match="table-columns"):
        join_tables(tmp_path / "measures.parquet", paths)


def test_words_are_read_as_categories_in_their_order(tmp_path: Path) -> None:
    paths, _ = parts(tmp_path)
    join_tables(tmp_path / "measures.parquet", paths)
    plain = read_table(tmp_path / "measures.parquet", ("participant", "BV/TV"))
    coded = read_table(tmp_path / "measures.parquet", ("participant", "BV/TV"), coded=True)
    assert list(coded["participant"].cat.categories) == ["A", "B", "D", "E"]
    pd.testing.assert_frame_equal(coded.astype({"participant": plain["participant"].dtype}), plain)


def test_a_contract_holds_for_the_columns_that_are_read(tmp_path: Path) -> None:
    write_table(tmp_path / "measures.parquet", measures("A", 2))
    assert list(read_table(tmp_path / "measures.parquet", ("row",)).columns) == ["row"]
    stored = pq.read_table(tmp_path / "measures.parquet")
    pq.write_table(stored.drop_columns(["coverage"]), tmp_path / "measures.parquet")
    with pytest.raises(StoreError, match="schema-invalid"):
        read_table(tmp_path / "measures.parquet", ("row",))
