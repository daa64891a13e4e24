"""A shard of any rows, arrays and types gives back what was put in, whole and in part, and one flipped value is found."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from srrd_ray.core.errors import StoreError
from srrd_ray.storage import patch_store
from tests.storage.test_patch_store import patches

Arrays = dict[str, NDArray[np.generic]]
types = st.sampled_from(["?", "u1", "i2", "u4", "f2", "f4", "f8"])
inner = st.lists(st.integers(1, 4), max_size=3).map(tuple)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}\Z", fullmatch=True)


@st.composite
def shards(draw: st.DrawFn, least: int = 0) -> Arrays:
    """Return arrays of some shapes and types with one number of rows, non-finite values among them."""
    rows, rng = draw(st.integers(least, 9)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.dictionaries(names, st.tuples(types, inner), min_size=1, max_size=3))
    found: Arrays = {}
    for name, (dtype, shape) in kinds.items():
        values = rng.integers(0, 100, (rows, *shape)).astype(dtype)
        if values.dtype.kind == "f" and values.size:
            values.flat[0] = draw(st.sampled_from([np.nan, np.inf, -0.0]))
        found[name] = values
    return found


@settings(max_examples=30)
@given(arrays=shards(), first=st.integers(0, 10), last=st.integers(0, 10))
def test_any_shard_comes_back_bit_for_bit_whole_and_in_part(arrays: Arrays, first: int, last: int) -> None:
    rows = len(next(iter(arrays.values())))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shard-00000.zarr"
        patch_store.write_shard(path, arrays, patches(path, rows))
        assert patch_store.verify_shard(path) == rows
        assert list(patch_store.read_index(path)) == patches(path, rows)
        whole, part = patch_store.read_shard(path), patch_store.read_shard(path, rows=slice(first, last))
    assert set(whole) == set(part) == set(arrays)
    for name, values in arrays.items():
        assert whole[name].dtype == values.dtype
        assert whole[name].tobytes() == values.tobytes()
        assert part[name].tobytes() == values[first:last].tobytes()


@settings(max_examples=20)
@given(arrays=shards(least=1), data=st.data())
def test_a_shard_with_another_value_is_not_that_which_was_written(
    arrays: Arrays, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(arrays)))
    changed = arrays[name].copy()
    changed.flat[data.draw(st.integers(0, changed.size - 1))] = 101
    if changed.tobytes() == arrays[name].tobytes():
        changed = np.logical_not(changed)  # it was true, and 101 is no other truth
    with TemporaryDirectory() as folder:
        one, two = (Path(folder) / f"shard-0000{number}.zarr" for number in range(2))
        patch_store.write_shard(one, arrays, patches(one, len(changed)))
        patch_store.write_shard(two, arrays | {name: changed}, patches(two, len(changed)))
        patch_store.index_path(two).replace(patch_store.index_path(one))
        with pytest.raises(StoreError, match="store-altered"):
            patch_store.verify_shard(one)
