from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from srrd_ray.core.geometry import Geometry, matrix4
from srrd_ray.core.records import BoneTransform, Knee, Patch, RegistrationQuality
from srrd_ray.core.volume import Volume
from srrd_ray.morphometry import MorphometryConfig
from srrd_ray.stages.measure import COLUMNS, measure_knee
from srrd_ray.stages.shared.poses import write_pose
from srrd_ray.storage import omezarr, patch_store
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table

KNEE = Knee(participant="007", side="L")
SHAPE, STEPS = (26, 90, 90), (0.75, 0.21875, 0.21875)
BVTV = 0.2
CONFIG = MorphometryConfig(target_mm=0.2, halo_mm=1.0)
TURN = np.array([[0, -1, 0, 30.0], [1, 0, 0, -12.0], [0, 0, 1, 5.0], [0, 0, 0, 1]])


def mr_image(gain: float) -> Volume[np.float32]:
    """Marrow with bone of about 0.2 volume fraction, a bias field, noise, and dark tissue round it."""
    rng = np.random.default_rng(5)
    noise = ndimage.gaussian_filter(rng.standard_normal((104, 180, 180)), (3.2, 3.2, 3.2))
    bone = noise > np.quantile(noise, 1 - BVTV)
    marrow = 1.0 - bone.reshape(26, 4, 90, 2, 90, 2).mean(axis=(1, 3, 5))
    z, y, x = np.ix_(*(np.linspace(-1, 1, n) for n in SHAPE))
    outside = ~label_mask()
    signal = np.where(outside, 0.1, marrow) * np.exp(0.2 * y - 0.15 * x * z)
    noisy = np.abs(signal + 0.05 * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)))
    return Volume(array=(gain * noisy).astype(np.float32), geometry=Geometry.axis_aligned(SHAPE, STEPS))


def label_mask() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:-2, 9:-9, 9:-9] = True
    return mask


def make_run(
    root: Path, *, accepted: bool = True, gain: float = 700.0, dark: bool = False
) -> tuple[RunLayout, Path]:
    layout = RunLayout(root=root)
    mr = mr_image(gain)
    labels = Volume(array=(label_mask() * 2).astype(np.uint8), geometry=mr.geometry)
    omezarr.write_volume(layout.volume(KNEE, "mr"), mr, knee=KNEE, image="mr", unit="au")
    omezarr.write_volume(layout.volume(KNEE, "mr_bones"), labels, knee=KNEE, image="mr_bones", unit="label")
    quality = RegistrationQuality(
        accepted=accepted, reason="" if accepted else "no overlap", dice=0.9, surface_mm=0.5, correlation=0.8
    )
    to_mr = BoneTransform(
        knee=KNEE, bone="tibia", fixed="ct", moving="mr", matrix=matrix4(TURN), quality=quality
    )
    write_pose(layout, to_mr)
    middle = mr.geometry.index_to_lps((np.array(SHAPE) - 1) / 2)
    centers = [
        np.linalg.inv(TURN)[:3] @ np.append(middle + offset, 1.0) for offset in ((0, 0, 0), (0, 0, 14.0))
    ]
    other = Knee(participant="008", side="R")
    shard = layout.shard(0)
    patches = [
        Patch(
            store=shard,
            row=row,
            knee=knee,
            bone="tibia",
            compartment="medial",
            center_lps_mm=tuple(c),
            depth_mm=7.0,
        )
        for row, (knee, c) in enumerate([(other, centers[0]), (KNEE, centers[0]), (KNEE, centers[1])])
    ]
    patch_store.write_shard(shard, {"has_mr": np.ones(3, dtype=np.bool_)}, patches)
    return layout, shard


def measured(root: Path, **options: object) -> pd.DataFrame:
    layout, shard = make_run(root, **options)  # type: ignore[arg-type]  # keyword options of make_run
    return read_table(measure_knee(KNEE, layout, shard, CONFIG), COLUMNS)


def test_a_row_for_each_patch_of_the_knee_that_lies_inside_bone_and_image(tmp_path: Path) -> None:
    table = measured(tmp_path)
    assert table[["participant", "side", "bone", "compartment", "store", "row"]].to_numpy().tolist() == [
        ["007", "L", "tibia", "medial", "shard-00000", 1]
    ]
    assert table["coverage"][0] == pytest.approx(1.0, abs=0.03)


def test_volume_fraction_is_found_whatever_the_gain_and_the_bias_field(tmp_path: Path) -> None:
    low, high = (measured(tmp_path / str(gain), gain=gain) for gain in (1.0, 3000.0))
    assert low["BV/TV"][0] == pytest.approx(BVTV, abs=0.06)
    assert high["BV/TV"][0] == pytest.approx(low["BV/TV"][0], abs=1e-4)
    assert high["Tb.N"][0] == pytest.approx(high["BV/TV"][0] / high["Tb.Th"][0])
    assert high["method"][0].startswith("apparent")


def test_a_bone_whose_registration_was_refused_has_no_rows(tmp_path: Path) -> None:
    table = measured(tmp_path, accepted=False)
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 0


def test_the_same_knee_gives_the_same_bytes(tmp_path: Path) -> None:
    layout, shard = make_run(tmp_path)
    first = measure_knee(KNEE, layout, shard, CONFIG).read_bytes()
    assert measure_knee(KNEE, layout, shard, CONFIG).read_bytes() == first


def test_the_published_algorithm_can_be_chosen_and_pins_bvtv_near_a_half(tmp_path: Path) -> None:
    layout, shard = make_run(tmp_path)
    config = MorphometryConfig(method="paper")
    table = read_table(measure_knee(KNEE, layout, shard, config))
    assert table["Tb.N"][0] == pytest.approx(1 / (table["Tb.Th"][0] + table["Tb.Sp"][0]))
    assert table["method"][0] == "published 2D algorithm"
