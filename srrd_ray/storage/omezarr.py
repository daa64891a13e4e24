"""Volumes as OME-Zarr 0.5: sharded, checksummed, multiscale, whole or absent,
the same bytes for the same voxels.

NGFF 0.5 has no rotation: its transforms hold the spacing along the array axes,
and the exact `ijk_to_lps` of every level lies in our own block ``srrd`` of the group's attributes.
That block is what this package reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.core.records import Image, Knee, Modality, StoredVolume, Unit
from srrd_ray.core.volume import Volume
from srrd_ray.storage import sharded
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.schemas import schema_version, validate

CHUNK: Shape = (64, 64, 64)
SHARD: Shape = (256, 256, 256)
SMALLEST = 64
AXES = ("z", "y", "x")
SCANNED = "scanned"
"""Array of a volume that holds padding: where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One resolution of the pyramid."""

    name: str
    geometry: Geometry
    sha256: str


def write_volume(
    path: Path,
    volume: Volume[np.generic],
    *,
    knee: Knee,
    image: Image,
    unit: Unit,
    synthetic_from: Modality | None = None,
    sources: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    technique: Mapping[str, str] | None = None,
    voxels_sha256: str | None = None,
    scanned: NDArray[np.bool_] | None = None,
) -> StoredVolume:
    """Return the record of `volume` written to `path` with its pyramid; an older volume there is replaced.

    Parameters
    ----------
    sources
        What it was made from: name -> SHA-256 (or another identifier that is no patient data).
    notes
        What a reader corrected or flagged, one line each.
    technique
        Allow-listed acquisition values.
    voxels_sha256
        Hash of a measured image in whatever format it came: by it one image under two names is found.
    scanned
        Where the image holds no padding, kept as an array of its own beside the levels; null: everywhere.
    """
    with replacing(path) as temporary:
        group = zarr.create_group(temporary, zarr_format=3)
        levels = write_levels(group, volume, labels=unit == "label")
        metadata: dict[str, object] = {
            "schema": schema_version("volume"),
            "knee": knee.key,
            "image": image,
            "unit": unit,
            "dtype": volume.array.dtype.newbyteorder("<").str,
            "synthetic_from": synthetic_from,
            "sources": dict(sorted((sources or {}).items())),
            "notes": list(notes),
            "technique": dict(sorted((technique or {}).items())),
            "levels": [_level_block(level) for level in levels],
        }
        metadata |= {"voxels_sha256": voxels_sha256} if voxels_sha256 else {}
        if scanned is not None:
            metadata |= {"scanned_sha256": _write_level(group, SCANNED, scanned, volume.geometry).sha256}
        validate("volume", metadata, path.name)
        group.update_attributes({"ome": _ngff_metadata(image, levels), "srrd": metadata})
    return _parse_record(path, metadata)


def read_stored(path: Path) -> StoredVolume:
    """Return the record of a stored volume from its metadata alone.

    Raises
    ------
    StoreError
        `store-missing`, `store-torn`, `store-foreign` or `schema-version`.
    """
    return _parse_record(path, sharded.open_group(path, "volume")[1])


def read_notes(path: Path) -> tuple[str, ...]:
    """Return what was noted where a volume was written, one line each; errors as `read_stored`."""
    metadata = sharded.open_group(path, "volume")[1]
    notes: list[str] = metadata.get("notes", [])  # type: ignore[assignment]  # checked by the schema
    return tuple(notes)


def read_volume(path: Path) -> Volume[np.generic]:
    """Return level 0 of a stored volume with its exact geometry.

    Raises
    ------
    StoreError
        As `read_stored`; `shard-missing` and `store-torn` where data are absent, cut short or altered.
    """
    group, metadata = sharded.open_group(path, "volume")
    array = sharded.open_array(path, group, "0")
    return Volume(array=sharded.read_window(path, array), geometry=_parse_record(path, metadata).geometry)


def open_level(path: Path, level: int = 0) -> sharded.ZarrArray:
    """Return one level as a lazy array, all its shards being present; slices are checked as they are read."""
    return sharded.open_array(path, sharded.open_group(path, "volume")[0], str(level))


def open_scanned(path: Path) -> sharded.ZarrArray | None:
    """Return where the image holds no padding, as a lazy mask of level 0; null for everywhere."""
    group, metadata = sharded.open_group(path, "volume")
    return sharded.open_array(path, group, SCANNED) if "scanned_sha256" in metadata else None


def level_geometry(path: Path, level: int = 0) -> Geometry:
    """Return the grid of one level."""
    return _parse_levels(sharded.open_group(path, "volume")[1])[level].geometry


def verify(path: Path) -> None:
    """Read every shard of every level and compare with the hashes that were taken when it was written.

    Raises
    ------
    StoreError
        `shard-missing`, `store-torn` or `store-altered` naming the level.
    """
    group, metadata = sharded.open_group(path, "volume")
    levels = _parse_levels(metadata)
    if "scanned_sha256" in metadata:
        levels.append(replace(levels[0], name=SCANNED, sha256=str(metadata["scanned_sha256"])))
    for level in levels:
        array = sharded.open_array(path, group, level.name)
        digest = sharded.begin_digest(array.dtype, array.shape, _describe_geometry(level.geometry))
        for window in _iterate_slabs(array):
            digest.update(sharded.to_little_endian(sharded.read_window(path, array, window)).tobytes())
        if digest.hexdigest() != level.sha256:
            raise sharded.altered_error(path.name, level.name)


def write_levels(group: zarr.Group, volume: Volume[np.generic], *, labels: bool) -> list[Level]:
    """Write level 0 and all coarser ones; each is made from the one before, which is still in memory."""
    values, geometry = sharded.to_little_endian(volume.array), volume.geometry
    levels = [_write_level(group, "0", values, geometry)]
    while max(geometry.shape) > SMALLEST:
        factor = downsampling_factor(geometry)
        geometry = coarsen(geometry, factor)
        values = downsample(values, factor, labels=labels)
        levels.append(_write_level(group, str(len(levels)), values, geometry))
    return levels


def _write_level(group: zarr.Group, name: str, values: sharded.Array, geometry: Geometry) -> Level:
    array = sharded.create_array(group, name, values.shape, values.dtype, chunk=CHUNK, shard=SHARD, axes=AXES)
    for window in sharded.iterate_blocks(values.shape, array.shards or array.chunks):
        array[window] = np.ascontiguousarray(values[window])
    digest = sharded.hash_array(values, _describe_geometry(geometry))
    return Level(name=name, geometry=geometry, sha256=digest)


def downsampling_factor(geometry: Geometry) -> Shape:
    """Return the factor (1 or 2) of each axis:
    2 where its spacing is within √2 of the finest, so that voxels become cubes.
    """
    finest = min(s for s, n in zip(geometry.spacing_mm, geometry.shape, strict=True) if n > 1)
    z, y, x = (
        2 if n > 1 and spacing < finest * 2**0.5 * 1.001 else 1
        for spacing, n in zip(geometry.spacing_mm, geometry.shape, strict=True)
    )
    return z, y, x


def coarsen(geometry: Geometry, factor: Shape) -> Geometry:
    """Return the grid of blocks of `factor` voxels;
    an incomplete last block counts, with the centre of a full one.
    """
    affine = geometry.affine
    affine[:3, 3] = geometry.index_to_lps((np.asarray(factor, dtype=np.float64) - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * np.asarray(factor, dtype=np.float64)[::-1]
    z, y, x = (-(-n // f) for n, f in zip(geometry.shape, factor, strict=True))
    return Geometry.from_affine((z, y, x), affine)


def downsample(values: sharded.Array, factor: Shape, *, labels: bool) -> sharded.Array:
    """Return block means (rounded for integers), or for labels the most
    frequent value (the smallest of equals).

    One plane of blocks at a time, so that no wide copy of the volume is made.
    """
    z, y, x = (-(-n // f) for n, f in zip(values.shape, factor, strict=True))
    coarse = np.empty((z, y, x), dtype=values.dtype)
    for k in range(z):
        planes = values[k * factor[0] : (k + 1) * factor[0]]
        pad = [
            (0, f - n if a == 0 else -n % f)
            for a, (n, f) in enumerate(zip(planes.shape, factor, strict=True))
        ]
        padded = np.pad(planes, pad, mode="edge") if any(after for _, after in pad) else planes
        coarse[k] = _majority(padded, factor) if labels else _mean(padded, factor)
    return coarse


def _mean(planes: sharded.Array, factor: Shape) -> NDArray[np.float32]:
    known = ~np.isnan(planes)
    if not known.all():  # a map, of which a block has the mean of what there is
        with np.errstate(invalid="ignore"):
            return _block_sum(np.where(known, planes, 0), factor) / _block_sum(known, factor)
    mean: NDArray[np.float32] = _block_sum(planes, factor) / np.float32(np.prod(factor))
    return np.rint(mean) if planes.dtype.kind in "iu" else mean


def _majority(planes: sharded.Array, factor: Shape) -> sharded.Array:
    labels = np.unique(planes)
    shares = np.stack([_block_sum((planes == label).view(np.uint8), factor) for label in labels])
    chosen: sharded.Array = labels[np.argmax(shares, axis=0)]
    return chosen


def _block_sum(planes: sharded.Array, factor: Shape) -> NDArray[np.float32]:
    """Return the sums over the blocks of one plane of blocks; exact for integers of 16 bits."""
    z, y, x = factor
    total = np.zeros((planes.shape[1] // y, planes.shape[2] // x), dtype=np.float32)
    for dz, dy, dx in product(range(z), range(y), range(x)):
        total += planes[dz, dy::y, dx::x]
    return total


def _iterate_slabs(array: sharded.ZarrArray) -> list[tuple[slice, ...]]:
    """Windows of whole shards in z, full in y and x: one writer a shard, and C order for the hash."""
    depth = (array.shards or array.chunks)[0]
    return list(sharded.iterate_blocks(array.shape, (depth, *array.shape[1:])))


def _describe_geometry(geometry: Geometry) -> str:
    return json.dumps(geometry.ijk_to_lps)


def _level_block(level: Level) -> dict[str, object]:
    return {
        "path": level.name,
        "shape": list(level.geometry.shape),
        "ijk_to_lps": [list(row) for row in level.geometry.ijk_to_lps],
        "sha256": level.sha256,
    }


def _ngff_metadata(image: Image, levels: list[Level]) -> dict[str, object]:
    """The `ome` block: spacing along the array axes in mm,
    and block centres relative to the first voxel of level 0.
    """
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in AXES]
    first = levels[0].geometry
    datasets = []
    for level in levels:
        origin = first.lps_to_index(level.geometry.index_to_lps((0, 0, 0))) * first.spacing_mm
        transforms: list[dict[str, object]] = [{"type": "scale", "scale": list(level.geometry.spacing_mm)}]
        transforms.append({"type": "translation", "translation": [round(float(v), 9) for v in origin]})
        datasets.append({"path": level.name, "coordinateTransformations": transforms})
    return {"version": "0.5", "multiscales": [{"name": image, "axes": axes, "datasets": datasets}]}


def _parse_levels(metadata: Mapping[str, object]) -> list[Level]:
    blocks = metadata["levels"]
    assert isinstance(blocks, list)
    return [
        Level(
            name=block["path"],
            geometry=Geometry.from_affine(block["shape"], block["ijk_to_lps"]),
            sha256=block["sha256"],
        )
        for block in blocks
    ]


def _parse_record(path: Path, metadata: Mapping[str, object]) -> StoredVolume:
    first = _parse_levels(metadata)[0]
    return StoredVolume(
        knee=Knee.parse(str(metadata["knee"])),
        image=metadata["image"],  # type: ignore[arg-type]  # checked by the schema
        path=path,
        geometry=first.geometry,
        unit=metadata["unit"],  # type: ignore[arg-type]  # checked by the schema
        sha256=first.sha256,
        synthetic_from=metadata["synthetic_from"],  # type: ignore[arg-type]  # checked by the schema
        voxels_sha256=metadata.get("voxels_sha256"),  # type: ignore[arg-type]  # checked by the schema
    )
