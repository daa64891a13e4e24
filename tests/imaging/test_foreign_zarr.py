"""An OME-Zarr of anybody is read where its axes, units and transforms put it, as ngff-zarr and the spec have it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import ngff_zarr
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.foreign_zarr import open_image
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.source import SourceImage

SHAPE = (4, 3, 2)
VALUES = np.arange(1, 25, dtype=np.int16).reshape(SHAPE)
MM = {
    "micrometer": 1e-3,
    "millimeter": 1.0,
    "centimeter": 10.0,
    "meter": 1e3,
    "nanometer": 1e-6,
    "inch": 25.4,
}
ZYX = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]

Numbers = Sequence[float]


def scale(values: Numbers) -> dict[str, object]:
    return {"type": "scale", "scale": list(values)}


def shift(values: Numbers) -> dict[str, object]:
    return {"type": "translation", "translation": list(values)}


def write(
    path: Path,
    axes: object = None,
    transforms: object = None,
    *,
    above: object = None,
    version: str = "0.4",
    lead: int = 0,
) -> Path:
    """Write an image of one level; `above` are the transforms of the multiscale, `lead` counts axes before space."""
    three = version >= "0.5"
    array = zarr.create_group(path, zarr_format=3 if three else 2).create_array(
        "a/b", shape=(1,) * lead + SHAPE, dtype="i2", chunks=(1,) * lead + (2, 2, 2)
    )
    array[:] = VALUES.reshape(array.shape)
    level = {"path": "a/b", "coordinateTransformations": transforms}
    block: dict[str, object] = {"axes": axes or ZYX, "version": version, "datasets": [level], "name": "image"}
    block |= {"coordinateTransformations": above} if above is not None else {}
    if axes == "none":
        del block["axes"]
    if transforms is None:
        del level["coordinateTransformations"]
    (path / ("zarr.json" if three else ".zattrs")).write_text(_document(path, block, three=three))
    return path


def _document(path: Path, block: Mapping[str, object], *, three: bool) -> str:
    if not three:
        return json.dumps({"multiscales": [block]})
    old = json.loads((path / "zarr.json").read_text())
    return json.dumps(old | {"attributes": {"ome": {"version": "0.5", "multiscales": [block]}}})


def codes(image: SourceImage) -> set[str]:
    return {f"{note.severity} {note.code}" for note in image.notes}


def refused(path: Path, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == code


numbers = st.lists(st.floats(0.01, 20), min_size=3, max_size=3)
places = st.lists(st.floats(-50, 50), min_size=3, max_size=3)


@settings(max_examples=25)
@given(
    steps=numbers, first=places, units=st.lists(st.sampled_from(list(MM)), min_size=3, max_size=3),
    version=st.sampled_from(["0.4", "0.5"]), lead=st.integers(0, 2),
)  # fmt: skip
def test_scale_place_and_mixed_units_are_those_of_ngff_zarr(
    steps: Numbers, first: Numbers, units: list[str], version: str, lead: int
) -> None:
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}][2 - lead :]
    axes += [{"name": n, "type": "space", "unit": u} for n, u in zip("zyx", units, strict=True)]
    transforms = [scale([1] * lead + list(steps)), shift([0] * lead + list(first))]
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.zarr", axes, transforms, version=version, lead=lead)
        image, lazy = read_image(path), open_image(path)[1]
        other = ngff_zarr.from_ngff_zarr(str(path), validate=False, version=version).images[0]
        factors = [MM[other.axes_units[name]] for name in "zyx"]
        grid = image.volume.geometry
        np.testing.assert_allclose(
            grid.spacing_mm, [other.scale[n] * f for n, f in zip("zyx", factors, strict=True)]
        )
        expected = [other.translation[n] * f for n, f in zip("zyx", factors, strict=True)]
        np.testing.assert_allclose(grid.affine[:3, 3], expected[::-1], atol=1e-9)
        np.testing.assert_array_equal(image.volume.array, np.asarray(other.data).reshape(SHAPE))
    assert lazy == grid
    assert ("FIX zarr-units" in codes(image)) == (set(units) != {"millimeter"})


@settings(max_examples=25)
@given(a=numbers, b=numbers, t=places, u=places, version=st.sampled_from(["0.4", "0.5"]))
def test_transforms_of_both_levels_are_applied_those_of_the_data_set_first(
    a: Numbers, b: Numbers, t: Numbers, u: Numbers, version: str
) -> None:
    with TemporaryDirectory() as folder:
        path = write(
            Path(folder) / "a.zarr", None, [scale(a), shift(t)], above=[scale(b), shift(u)], version=version
        )
        affine = read_image(path).volume.geometry.affine
    last = np.array([1, 2, 3])  # (z, y, x)
    expected = np.array(b) * (np.array(a) * last + t) + u
    np.testing.assert_allclose((affine @ [*last[::-1], 1])[:3], expected[::-1], atol=1e-6)


def test_axes_in_another_order_keep_their_names(tmp_path: Path) -> None:
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "xyz"]
    image = read_image(write(tmp_path / "a.zarr", axes, [scale([0.7, 0.6, 0.5]), shift([7, 8, 9])]))
    np.testing.assert_allclose(
        image.volume.geometry.affine[:3], [[0, 0, 0.7, 7], [0, 0.6, 0, 8], [0.5, 0, 0, 9]]
    )
    np.testing.assert_array_equal(image.volume.array, VALUES)


def test_anatomical_axes_give_the_orientation(tmp_path: Path) -> None:
    told = ["superior-to-inferior", "anterior-to-posterior", "left-to-right"]
    axes = [
        axis | {"orientation": {"type": "anatomical", "value": value}}
        for axis, value in zip(ZYX, told, strict=True)
    ]
    image = read_image(write(tmp_path / "a.zarr", axes, [scale([0.7, 0.6, 0.5]), shift([7, 8, 9])]))
    np.testing.assert_allclose(
        image.volume.geometry.affine[:3], [[-0.5, 0, 0, -9], [0, 0.6, 0, 8], [0, 0, -0.7, -7]]
    )
    assert codes(image) == set()


@pytest.mark.parametrize("transforms", [None, [], [shift([1, 2, 3])], [{"type": "identity"}]])
def test_an_absent_scale_is_flagged(tmp_path: Path, transforms: object) -> None:
    assert "FLAG spacing-absent" in codes(read_image(write(tmp_path / "a.zarr", None, transforms)))


def test_a_scale_at_the_upper_level_alone_is_one(tmp_path: Path) -> None:
    image = read_image(write(tmp_path / "a.zarr", None, None, above=[scale([0.7, 0.6, 0.5])]))
    assert image.volume.geometry.spacing_mm == (0.7, 0.6, 0.5)
    assert "FLAG spacing-absent" not in codes(image)


@pytest.mark.parametrize("axes", ["none", list("zyx")])
def test_old_versions_without_units_are_flagged(tmp_path: Path, axes: object) -> None:
    image = read_image(write(tmp_path / "a.zarr", axes, None))
    assert {"FLAG zarr-units", "FLAG spacing-absent"} <= codes(image)


def test_a_unit_of_one_axis_that_is_missing_is_flagged(tmp_path: Path) -> None:
    axes = [*ZYX[:2], {"name": "x", "type": "space"}]
    assert "FLAG zarr-units" in codes(read_image(write(tmp_path / "a.zarr", axes, [scale([1, 1, 1])])))


def test_chunks_that_are_not_there_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", None, [scale([1, 1, 1])])
    chunks = sorted(p for p in (path / "a" / "b").iterdir() if not p.name.startswith("."))
    chunks[-1].unlink()
    assert [str(n) for n in read_image(path).notes if n.code == "zarr-chunks-missing"] == [
        "FLAG zarr-chunks-missing: 1 of 4 chunks are not there and are read as 0; if they were not left out as empty, "
        "copy the folder again"
    ]
    for chunk in chunks[:-1]:
        chunk.unlink()
    with pytest.raises(InputError, match=r"image-truncated.*0 of 4 chunks"):
        read_image(path)


@pytest.mark.parametrize(
    ("axes", "transforms", "code"),
    [
        (None, [scale([1, 1])], "image-unreadable"),
        (None, [{"type": "scale", "path": "s"}], "image-unreadable"),
        (None, [{"type": "affine", "affine": [[1, 0, 0, 0]]}], "image-unreadable"),
        (None, [{"scale": [1, 1, 1]}], "image-unreadable"),
        (None, "scale", "image-unreadable"),
        (None, [scale([0, 1, 1])], "spacing-invalid"),
        (None, [scale([-1, 1, 1])], "spacing-invalid"),
        (None, [scale([float("nan"), 1, 1])], "spacing-invalid"),
        (ZYX[:2], [scale([1, 1, 1])], "image-unreadable"),
        ([{"name": "c", "type": "channel"}, *ZYX[1:]], [scale([1, 1, 1])], "image-dimensions"),
        ([{"name": "t", "type": "time"}, *ZYX[:2]], [scale([1, 1, 1])], "image-dimensions"),
        ([7, 8, 9], [scale([1, 1, 1])], "image-unreadable"),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, axes: object, transforms: object, code: str
) -> None:
    refused(write(tmp_path / "a.zarr", axes, transforms), code)


def test_a_level_outside_the_image_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", None, [scale([1, 1, 1])])
    shutil.copytree(path, tmp_path / "b.zarr")
    (path / ".zattrs").write_text((path / ".zattrs").read_text().replace("a/b", "../b.zarr/a/b"))
    refused(path, "image-unreadable")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_group_of_images_names_those_in_it(tmp_path: Path, version: str) -> None:
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3 if version == "0.5" else 2)
    write(tmp_path / "a.zarr" / "0", None, [scale([1, 1, 1])], version=version)
    (tmp_path / "a.zarr" / "OME").mkdir()
    with pytest.raises(InputError, match=r"image-unreadable.* Give an image in it, e\.g\. a\.zarr/0\."):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("shape", [(48, 48, 48), (48, 64, 64)])
def test_shards_that_reach_beyond_the_edge_are_counted_as_files(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    values = np.random.default_rng(0).integers(1, 9, shape).astype(np.uint8)
    group.create_array("0", data=values, chunks=(16, 16, 16), shards=(32, 32, 32))
    level = {"path": "0", "coordinateTransformations": [scale([1, 1, 1])]}
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [{"axes": ZYX, "datasets": [level]}]}})
    assert "FLAG zarr-chunks-missing" not in codes(read_image(tmp_path / "a.zarr"))
    for shard in ("0/0/1", "1/1/0"):
        (tmp_path / "a.zarr" / "0" / "c" / shard).unlink()
    (note,) = [note for note in read_image(tmp_path / "a.zarr").notes if note.code == "zarr-chunks-missing"]
    assert note.message.startswith("2 of 8 shards are not there and are read as 0")


def test_a_level_finer_than_the_first_is_told(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    for name, side in (("0", 8), ("1", 16)):
        group.create_array(name, data=np.arange(side**3, dtype=np.uint16).reshape(side, side, side))
    levels = [
        {"path": n, "coordinateTransformations": [scale([s, s, s])]} for n, s in (("0", 0.1), ("1", 0.05))
    ]
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [{"axes": ZYX, "datasets": levels}]}})
    assert "FLAG zarr-levels" in codes(read_image(tmp_path / "a.zarr"))


@pytest.mark.parametrize("other", ["../..", "", "gone", "0/0", None])
def test_a_level_that_is_not_read_may_be_broken(tmp_path: Path, other: str | None) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("0", data=np.arange(512, dtype=np.uint16).reshape(8, 8, 8))
    levels: list[object] = [{"path": "0", "coordinateTransformations": [scale([1, 1, 1])]}, {"path": other}]
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [{"axes": ZYX, "datasets": levels}]}})
    assert "FLAG zarr-levels" not in codes(read_image(tmp_path / "a.zarr"))
