"""Blocks with halos give the map of the whole volume, bit for bit, whatever the mask, the blocks and the voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srrd_ray.core.errors import InputError
from srrd_ray.morphometry import blocks, local_thickness
from srrd_ray.morphometry.blocks import BONE, FIELD, Bits, Phase, Signed, Window
from srrd_ray.morphometry.thickness import Border
from tests.morphometry import shapes
from tests.morphometry.shapes import Mask, Spacing
from tests.morphometry.test_thickness import random_mask

Shape = tuple[int, int, int]


def bits_of(bone: Mask, field: Mask | None = None) -> Bits:
    seen = np.ones_like(bone) if field is None else field
    return np.asarray(bone * BONE + seen * FIELD, dtype=np.uint8)


def distances(bits: Bits, steps: Spacing, edge: int, border: Border = "open") -> Signed:
    """Return the first pass over all blocks, stitched."""
    shape: Shape = bits.shape

    def read(window: Window) -> Bits:
        return bits[window]

    parts = [
        (core, blocks.block_distances(read, core, shape, steps, border))
        for core in blocks.iterate_blocks(shape, edge)
    ]
    out: Signed = np.zeros(shape, dtype=parts[0][1].dtype)
    for core, part in parts:
        out[core] = part
    return out


def stitched(bits: Bits, steps: Spacing, edge: int, border: Border = "open") -> tuple[blocks.Map, blocks.Map]:
    """Return the maps of bone and of marrow, made in two passes over blocks of `edge` voxels."""
    shape: Shape = bits.shape
    signed = distances(bits, steps, edge, border)
    found = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    phases: tuple[Phase, Phase] = ("bone", "marrow")
    for out, phase, squared in zip(found, phases, blocks.largest_squared_radii(signed), strict=True):
        halo = blocks.halo_voxels(float(np.sqrt(squared)), steps)
        for core in blocks.iterate_blocks(shape, edge):
            outer = blocks.add_halo(core, halo, shape)
            part = signed[outer]
            out[core] = blocks.block_thickness(part, blocks.locate_within(core, outer), steps, phase)
    return found


def mixed(seed: int, shape: Shape) -> Mask:
    """Return a random mask that holds both phases."""
    mask = random_mask(seed, shape)
    mask.flat[0], mask.flat[-1] = True, False
    return mask


BIG = st.tuples(*[st.integers(2, 40)] * 3)
STEPS = st.one_of(
    st.sampled_from([(0.05, 0.05, 0.05), (0.05, 0.05, 0.0500004)]), st.tuples(*[st.floats(0.02, 1.0)] * 3)
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=BIG, steps=STEPS, edge=st.integers(3, 33))
def test_stitched_maps_equal_the_whole_bit_for_bit(
    seed: int, shape: Shape, steps: Spacing, edge: int
) -> None:
    mask = mixed(seed, shape)
    bone, marrow = stitched(bits_of(mask), steps, edge)
    assert np.array_equal(bone, local_thickness(mask, steps, dtype=np.float32))
    assert np.array_equal(marrow, local_thickness(~mask, steps, dtype=np.float32))


@pytest.mark.parametrize("steps", [(0.05, 0.05, 0.05), (0.1, 0.05, 0.05), (0.05, 0.07, 0.06)])
@pytest.mark.parametrize("edge", [10, 30])
def test_balls_much_larger_than_a_block_cross_it(steps: Spacing, edge: int) -> None:
    mask = shapes.sphere(0.75, (40, 40, 40))
    mask[:, 19:21, :] = False
    bone, marrow = stitched(bits_of(mask), steps, edge)
    assert np.array_equal(bone, local_thickness(mask, steps, dtype=np.float32))
    assert np.array_equal(marrow, local_thickness(~mask, steps, dtype=np.float32))


@pytest.mark.parametrize("border", ["open", "closed"])
def test_the_border_and_the_field_are_those_of_the_whole(border: Border) -> None:
    mask = shapes.gaussian_field((40, 44, 48), seed=4)
    y, x = np.ogrid[:44, :48]
    field = np.broadcast_to((y - 22) ** 2 + (x - 24) ** 2 < 400, mask.shape)
    bone, marrow = stitched(bits_of(mask, field), shapes.ISO, 20, border)
    for found, phase in ((bone, mask), (marrow, ~mask)):
        whole = local_thickness(phase, 0.05, border=border, field=field, dtype=np.float32)
        assert np.array_equal(found, whole)


def test_a_halo_grows_until_it_holds_the_longest_distance() -> None:
    mask = np.zeros((8, 8, 300), bool)
    mask[4, 4, 299] = True
    signed = distances(bits_of(mask), shapes.ISO, 8)
    assert signed[4, 4, 0] == -(299**2)


def test_a_window_that_would_not_fit_into_memory_is_refused() -> None:
    with pytest.raises(InputError, match="block-too-large"):
        blocks.refuse_large((slice(0, 1000),) * 3, shapes.ISO)


def test_blocks_tile_the_volume_once() -> None:
    seen = np.zeros((10, 7, 23), int)
    for window in blocks.iterate_blocks((10, 7, 23), 4):
        seen[window] += 1
    assert (seen == 1).all()
