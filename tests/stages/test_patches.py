from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.bones import BONES
from srrd_ray.core.geometry import Geometry, matrix4, transform_points
from srrd_ray.core.records import BoneTransform, Knee, RegistrationQuality, Side
from srrd_ray.core.volume import Volume
from srrd_ray.patches import PatchConfig
from srrd_ray.stages.patches import plan_shards, write_shard
from srrd_ray.stages.shared.poses import write_pose
from srrd_ray.storage import omezarr, patch_store
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from tests.patches.phantoms import knee_labels, oblique_grid, rotation, voxel_lps

LABELS = knee_labels(oblique_grid())
POSE = np.eye(4)
POSE[:3, :3], POSE[:3, 3] = rotation((1.0, 0.2, 0.1), 12.0), (3.0, -2.0, 1.0)


def hounsfield(points: np.ndarray) -> np.ndarray:
    return np.asarray(200 + points @ np.array([2.0, -3.0, 4.0]))


def store_ct(layout: RunLayout, knee: Knee, labels: Volume[np.uint8] = LABELS) -> None:
    hu = Volume(
        array=np.rint(hounsfield(voxel_lps(labels.geometry))).astype(np.int16), geometry=labels.geometry
    )
    omezarr.write_volume(layout.volume(knee, "ct"), hu, knee=knee, image="ct", unit="HU")
    omezarr.write_volume(layout.volume(knee, "ct_bones"), labels, knee=knee, image="ct_bones", unit="label")


def store_mr(layout: RunLayout, knee: Knee, *, femur_accepted: bool = True) -> None:
    grid = Geometry.axis_aligned((100, 70, 70), (1.0, 1.0, 1.5), (-50.0, -34.0, -50.0))
    signal = (500 + voxel_lps(grid) @ np.array([1.0, 2.0, 3.0])).astype(np.float32)
    volume = Volume(array=signal, geometry=grid)
    omezarr.write_volume(layout.volume(knee, "mr"), volume, knee=knee, image="mr", unit="au")
    for bone in BONES:
        accepted = femur_accepted or bone == "tibia"
        quality = RegistrationQuality(accepted=accepted, reason="", dice=0.9, surface_mm=0.3, correlation=0.9)
        pose = BoneTransform(
            knee=knee, bone=bone, fixed="ct", moving="mr", matrix=matrix4(POSE), quality=quality
        )
        write_pose(layout, pose)


def knee_of(name: str, side: Side = "R") -> Knee:
    return Knee(participant=name, side=side)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunLayout, dict[str, str]]:
    layout = RunLayout(root=tmp_path_factory.mktemp("run"))
    for name in ("001", "002", "003"):
        store_ct(layout, knee_of(name))
    store_mr(layout, knee_of("001"))
    store_mr(layout, knee_of("002"), femur_accepted=False)
    broken = Volume(array=np.minimum(LABELS.array, 1).astype(np.uint8), geometry=LABELS.geometry)
    store_ct(layout, knee_of("004"), broken)
    number, knees = 0, tuple(knee_of(f"00{n}") for n in range(1, 6))
    outcomes = write_shard(layout.shard(number), knees, layout, PatchConfig())
    codes = {o.knee.participant: o.error.code if o.error else o.status for o in outcomes if o.knee}
    return layout, codes


def rows_of(layout: RunLayout, participant: str, *names: str) -> dict[str, np.ndarray]:
    index = patch_store.read_index(layout.shard(0))
    mine = [p.row for p in index if p.knee.participant == participant]
    return {name: array[mine] for name, array in patch_store.read_shard(layout.shard(0), names).items()}


def test_a_failing_knee_is_named_by_its_code_and_the_others_go_on(
    written: tuple[RunLayout, dict[str, str]],
) -> None:
    assert written[1] == {
        "001": "done",
        "002": "done",
        "003": "done",
        "004": "bone-missing",
        "005": "skipped",
    }
    knees = {p.knee.participant for p in patch_store.read_index(written[0].shard(0))}
    assert knees == {"001", "002", "003"}


def test_each_row_holds_the_ct_round_the_centre_that_the_index_names(
    written: tuple[RunLayout, dict[str, str]],
) -> None:
    layout = written[0]
    ct = patch_store.read_shard(layout.shard(0), ("ct",))["ct"]
    for patch in patch_store.read_index(layout.shard(0)):
        middle = ct[patch.row, 7:9, 15:17, 15:17].mean()
        assert middle == pytest.approx(hounsfield(np.array(patch.center_lps_mm)), abs=1.0)


def test_mr_rows_hold_the_signal_at_the_transformed_centre(written: tuple[RunLayout, dict[str, str]]) -> None:
    layout = written[0]
    rows = rows_of(layout, "001", "mr", "mr_scale", "has_mr")
    assert rows["has_mr"].all()
    centres = [
        p.center_lps_mm for p in patch_store.read_index(layout.shard(0)) if p.knee.participant == "001"
    ]
    expected = 500 + transform_points(POSE, centres) @ np.array([1.0, 2.0, 3.0])
    middle = rows["mr"][:, 27:29, 27:29, 7:9].astype(np.float32).mean(axis=(1, 2, 3)) * rows["mr_scale"]
    np.testing.assert_allclose(middle, expected, rtol=2e-3)


def test_a_bone_whose_registration_was_refused_has_no_mr_but_keeps_its_ct(
    written: tuple[RunLayout, dict[str, str]],
) -> None:
    layout = written[0]
    has = rows_of(layout, "002", "has_mr")["has_mr"]
    bones = [p.bone for p in patch_store.read_index(layout.shard(0)) if p.knee.participant == "002"]
    assert [bone == "tibia" for bone in bones] == has.tolist()


def test_a_knee_with_ct_alone_has_cubes_without_mr(written: tuple[RunLayout, dict[str, str]]) -> None:
    rows = rows_of(written[0], "003", "has_mr", "mr", "ct")
    assert rows["ct"].shape[0] == 24
    assert not rows["has_mr"].any()
    assert not rows["mr"].any()
    assert patch_store.read_attributes(written[0].shard(0))["without_mr"] == 24 + 12


def test_a_knee_with_no_room_for_a_cube_fails_and_says_what_was_excluded(tmp_path: Path) -> None:
    layout = RunLayout(root=tmp_path)
    store_ct(layout, knee_of("001"))
    number, knees = 0, (knee_of("001"),)
    (outcome,) = write_shard(layout.shard(number), knees, layout, PatchConfig(depth_mm=1.0))
    assert outcome.error is not None
    assert outcome.error.code == "patches-none"
    assert "outside the bone" in outcome.error.message
    assert patch_store.verify_shard(layout.shard(0)) == 0


def test_writing_a_shard_again_gives_the_same_bytes(tmp_path: Path) -> None:
    layout = RunLayout(root=tmp_path)
    store_ct(layout, knee_of("001", "L"))
    number, knees = 3, (knee_of("001", "L"),)
    hashes = []
    for _ in range(2):
        write_shard(layout.shard(number), knees, layout, PatchConfig())
        hashes.append((hash_file(layout.shard(3)), hash_file(layout.shard(3).with_suffix(".parquet"))))
    assert hashes[0] == hashes[1]


def test_shards_take_knees_in_order_of_their_keys() -> None:
    knees = [knee_of("b"), knee_of("a", "R"), knee_of("a", "L"), knee_of("c")]
    shards = plan_shards(knees, knees_per_shard=3)
    assert {name: [knee.key for knee in held] for name, held in shards.items()} == {
        "shard-00000": ["sub-a_side-L", "sub-a_side-R", "sub-b_side-R"],
        "shard-00001": ["sub-c_side-R"],
    }
