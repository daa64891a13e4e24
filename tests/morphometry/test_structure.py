"""Surface, topology and box counts of blocks add up to those of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.morphometry import bone_maps, measure_maps
from srrd_ray.morphometry.blocks import BONE, FIELD, REGION, iterate_blocks
from srrd_ray.morphometry.measures import BoneMeasures
from srrd_ray.morphometry.structure import block_structure, window_with_halo, with_structure
from srrd_ray.morphometry.tally import Tally, merge
from tests.morphometry import shapes
from tests.morphometry.shapes import Mask, Spacing

SUMS = ("bs_mm2", "bs_bv_per_mm", "smi", "tb_pf_per_mm", "da", "fractal_dimension")


def by_blocks(bone: Mask, roi: Mask, steps: Spacing, edge: int) -> BoneMeasures:
    shape = bone.shape
    assert len(shape) == 3
    bits = np.asarray(bone * BONE + roi * REGION + FIELD, dtype=np.uint8)
    parts = []
    for core in iterate_blocks(shape, edge):
        outer = window_with_halo(core, shape)
        parts.append(block_structure(bits[outer], outer, core, shape, steps))
    about = BoneMeasures(
        status="ok", n_voxels=int(roi.sum()), coverage=1.0, spacing_mm=steps, border="open", mode="exact",
        bvtv=float(bone[roi].mean()),
    )  # fmt: skip
    return with_structure(about, parts, shape)


@pytest.mark.parametrize("steps", [(0.05, 0.05, 0.05), (0.1, 0.05, 0.07)])
@pytest.mark.parametrize("part", [False, True], ids=["whole", "region"])
def test_the_structure_of_blocks_adds_up_to_that_of_the_whole(steps: Spacing, part: bool) -> None:
    bone = shapes.gaussian_field((44, 40, 50), sigma=2.5, seed=8)
    roi = np.ones_like(bone)
    if part:
        roi[:12], roi[:, :, 36:] = False, False
    whole, blocks = measure_maps(bone_maps(bone, steps), roi), by_blocks(bone, roi, steps, 32)
    assert (blocks.euler, blocks.euler_corrected) == (whole.euler, whole.euler_corrected)
    assert blocks.conn_d_per_mm3 == pytest.approx(whole.conn_d_per_mm3, rel=1e-12)
    for name in SUMS:
        assert getattr(blocks, name) == pytest.approx(getattr(whole, name), rel=2e-4), name


def test_tallies_of_parts_add_up_exactly_in_any_order() -> None:
    rng = np.random.default_rng(3)
    values = np.sqrt(rng.integers(1, 50, 5000)).astype(np.float32)
    parts = [Tally.from_values(part) for part in np.split(values, 10)]
    whole = Tally.from_values(values)
    assert merge(parts) == whole == merge(parts[::-1])
    spread = whole.spread
    assert spread is not None
    assert spread.mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-14)
    assert spread.sd == pytest.approx(values.std(dtype=np.float64), rel=1e-12)
    assert (whole.n, spread.max) == (5000, float(values.max()))
    assert whole.histogram(np.linspace(0, 8, 9)).sum() == 5000


def test_a_tally_of_nothing_has_no_mean() -> None:
    assert merge([]).spread is None
    assert Tally.from_values(np.array([np.inf])).spread is None
