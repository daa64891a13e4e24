"""Whatever happens to the outputs and sidecars of a stage, an item is up to date only where nothing is missing or altered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from srrd_ray.execution.sidecars import (
    Sidecar,
    commit,
    describe,
    find_all_up_to_date,
    find_up_to_date,
    input_hash,
)
from srrd_ray.storage.layout import RunLayout

STAGE = "toy"
texts = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
outputs = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3)


def output(root: Path, item: str, number: int) -> Path:
    return root / "out" / f"{item}_{number}.bin"


def make(layout: RunLayout, item: str, contents: list[bytes], hashed: str) -> None:
    """Write the outputs of an item and then its sidecar."""
    paths = [output(layout.root, item, number) for number in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    described = describe(layout.root, paths)
    commit(layout, Sidecar(stage=STAGE, item=item, input_hash=hashed, software="0", outputs=described))


def lose(path: Path) -> None:
    path.unlink()


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def alter(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def nothing(path: Path) -> None:
    pass


DAMAGE: Mapping[str, Callable[[Path], None]] = {
    "none": nothing,
    "lost": lose,
    "longer": lengthen,
    "altered": alter,
}


@settings(max_examples=40)
@given(
    items=st.dictionaries(
        st.integers(0, 99).map("sub-{:02d}_side-L".format), outputs, min_size=1, max_size=5
    ),
    data=st.data(),
)
def test_an_item_is_up_to_date_only_where_nothing_is_lost_or_altered(
    items: dict[str, list[bytes]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        layout = RunLayout(root=Path(folder))
        for item, contents in items.items():
            make(layout, item, contents, f"hash of {item}")
        damage = {
            item: data.draw(st.sampled_from([*DAMAGE, "torn", "other inputs"]), label=item) for item in items
        }
        for item, kind in damage.items():
            if kind == "torn":
                sidecar = layout.sidecar(STAGE, item)
                sidecar.write_bytes(sidecar.read_bytes()[: data.draw(st.integers(0, 20))])
            elif kind in DAMAGE:
                DAMAGE[kind](output(layout.root, item, data.draw(st.integers(0, len(items[item]) - 1))))
        wanted = {
            item: f"hash of {item}" + " anew" * (kind == "other inputs") for item, kind in damage.items()
        }
        for verify in (False, True):
            told = list(find_all_up_to_date(layout, STAGE, wanted, verify=verify))
            assert told == [find_up_to_date(layout, STAGE, n, h, verify=verify) for n, h in wanted.items()]
            seen = {item for item, sidecar in zip(wanted, told, strict=True) if sidecar is not None}
            unseen = (
                {"none"} if verify else {"none", "altered"}
            )  # one byte of another value has the same size
            assert seen == {item for item, kind in damage.items() if kind in unseen}


@given(stage=texts, settings_=texts, inputs=st.lists(texts, max_size=5), other=texts)
def test_an_input_hash_depends_on_stage_settings_and_inputs_and_not_on_their_order(
    stage: str, settings_: str, inputs: list[str], other: str
) -> None:
    found = input_hash(stage, settings_, inputs)
    assert input_hash(stage, settings_, inputs[::-1]) == found
    assert input_hash(stage, settings_, [*inputs, other]) != found
    assert (input_hash(other, settings_, inputs) == found) == (other == stage)
    assert (input_hash(stage, other, inputs) == found) == (other == settings_)
