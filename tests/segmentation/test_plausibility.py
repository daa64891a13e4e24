from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.errors import InputError
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import CLASSES, FEMUR, FIBULA, PATELLA, TIBIA
from srrd_ray.segmentation.plausibility import check_bones, require_plausible
from tests.segmentation.planted import shaped_knee

Array = NDArray[np.uint8]


def test_a_knee_passes_unchanged() -> None:
    labels = shaped_knee()
    checked = check_bones(labels)
    assert checked.findings == ()
    assert checked.specks_cm3 == checked.holes_cm3 == 0
    assert np.array_equal(require_plausible(checked).array, labels.array)


def test_specks_and_small_holes_are_tidied_and_counted() -> None:
    labels = shaped_knee()
    labels.array[2, 2, 2] = TIBIA
    labels.array[46, 22, 19] = 0
    checked = check_bones(labels)
    assert checked.findings == ()
    assert checked.specks_cm3 == pytest.approx(0.008)
    assert checked.holes_cm3 == pytest.approx(0.008)
    assert np.array_equal(checked.labels.array, shaped_knee().array)
    assert labels.array[2, 2, 2] == TIBIA  # what was given is left alone


def _hole(a: Array) -> None:
    a[44:49, 20:25, 17:22] = 0


def _open_hole(a: Array) -> None:
    a[:10, 28:31, 23:26] = 0  # down to the edge of the image


def _box_to_the_side(a: Array) -> None:
    a[20:26, :33, 12:36] = 0  # as a wall of cortex that is too thin leaves it


def _island(a: Array) -> None:
    a[2:9, 2:14, 2:14] = TIBIA


def _far_tibia(a: Array) -> None:
    tibia = a == TIBIA
    a[tibia] = 0
    a[: len(a) - 10][tibia[10:]] = TIBIA


def _short_femur(a: Array) -> None:
    a[45:] = 0


def _no_tibia(a: Array) -> None:
    a[a == TIBIA] = 0


def _swapped(a: Array) -> None:
    femur = a == FEMUR
    a[a == TIBIA] = FEMUR
    a[femur] = TIBIA


def _small_patella(a: Array) -> None:
    inner = np.argwhere(a == PATELLA)
    a[a == PATELLA] = 0
    a[tuple(inner[len(inner) // 2])] = PATELLA


def _patella_behind(a: Array) -> None:
    patella = np.flip(a == PATELLA, axis=1)
    a[a == PATELLA] = 0
    a[patella & (a == 0)] = PATELLA


def _fat_fibula(a: Array) -> None:
    a[:15, 4:40, 30:48] = FIBULA


@pytest.mark.parametrize(("spoil", "code", "bone"), [
    (_hole, "bone-hole", "femur"),
    (_open_hole, "bone-hole", "tibia"),
    (_box_to_the_side, "bone-hole", "tibia"),
    (_island, "bone-island", "tibia"),
    (_no_tibia, "bone-missing", "tibia"),
    (_far_tibia, "bone-order", "tibia"),
    (_short_femur, "bone-ends", "femur"),
    (_swapped, "bone-order", "femur"),
    (_small_patella, "bone-volume", "patella"),
    (_patella_behind, "bone-order", "patella"),
    (_fat_fibula, "bone-volume", "fibula"),
])  # fmt: skip
def test_what_cannot_be_is_named_and_refused(spoil: Callable[[Array], None], code: str, bone: str) -> None:
    labels = shaped_knee()
    spoil(labels.array)
    found = check_bones(labels).findings
    assert (code, bone) in [(f.code, f.bone) for f in found]
    checked = check_bones(labels)
    if bone in ("fibula", "patella"):  # only help to tell the side
        assert CLASSES.index(bone) not in require_plausible(checked).array
        assert FEMUR in require_plausible(checked).array
        return
    with pytest.raises(InputError) as caught:
        require_plausible(checked)
    assert caught.value.code in {f.code for f in found}
    assert bone in str(caught.value)


def test_a_bone_that_the_field_of_view_cuts_may_be_small() -> None:
    labels = shaped_knee()
    top = int(np.argwhere(labels.array == PATELLA)[:, 0].min()) + 2
    cut = labels.crop((0, 0, 0), (top, *labels.array.shape[1:]))
    assert "patella" not in {
        f.bone for f in check_bones(Volume(array=cut.array.copy(), geometry=cut.geometry)).findings
    }


def test_a_bone_whose_surface_lies_on_no_edge_of_the_image_is_refused() -> None:
    labels = shaped_knee()
    rng = np.random.default_rng(0)
    grey = ndimage.gaussian_filter(np.where(labels.array > 0, 100.0, 0.0), 0.5) + rng.normal(
        0, 5, labels.array.shape
    )
    image = Volume(array=grey.astype(np.float32), geometry=labels.geometry)
    assert check_bones(labels, image).findings == ()
    flat = Volume(array=rng.normal(0, 5, grey.shape).astype(np.float32), geometry=labels.geometry)
    found = check_bones(labels, flat)
    assert {(one.code, one.bone) for one in found.refusals} == {
        ("bone-surface", "femur"),
        ("bone-surface", "tibia"),
    }


def _with_vastus(beyond: float) -> tuple[Volume[np.uint8], Volume[np.float32], NDArray[np.bool_]]:
    """A knee whose femur leaks above the condyle into muscle, its image, and the leak; muscle is `beyond`."""
    labels = shaped_knee()
    where = labels.geometry.index_to_lps(np.moveaxis(np.indices(labels.array.shape), 0, -1))
    leak = (np.linalg.norm(where - (-30.0, -22.0, 44.0), axis=-1) < 15) & (labels.array == 0)
    grey = np.where(labels.array > 0, 100.0, np.where(leak, beyond, 500.0))
    grey = ndimage.gaussian_filter(grey, 0.4) + np.random.default_rng(0).normal(0, 8, grey.shape)
    labels.array[leak] = FEMUR
    return labels, Volume(array=grey.astype(np.float32), geometry=labels.geometry), leak


def test_a_femur_that_leaks_into_muscle_is_cut_off_where_the_image_has_an_edge_and_flagged() -> None:
    labels, image, leak = _with_vastus(500.0)
    checked = check_bones(labels, image)
    assert [(one.code, one.bone) for one in checked.doubts] == [("bone-lump", "femur")]
    assert "cm3 up to" in str(checked.doubts[0])
    assert "outside of the shapes of people, cut off" in str(checked.doubts[0])
    femur = require_plausible(checked).array == FEMUR
    assert checked.lumps is not None
    assert set(np.unique(checked.lumps.array)) == {0, FEMUR}
    assert not (femur & (checked.lumps.array > 0)).any()
    truth = shaped_knee().array == FEMUR
    assert (femur & leak).sum() < 0.15 * leak.sum()
    assert (truth & ~femur).sum() < 0.01 * truth.sum()


def test_a_lump_that_no_edge_parts_from_its_bone_is_refused_with_what_people_have() -> None:
    labels, image, _ = _with_vastus(100.0)
    checked = check_bones(labels, image)
    assert checked.lumps is None
    words = r"\[bone-lump\].*of its border with the bone on edges, expected less than 1 cm3 beyond 4 mm"
    with pytest.raises(InputError, match=words):
        require_plausible(checked)


def test_where_too_little_is_seen_no_shape_is_asked_for() -> None:
    labels, image, _ = _with_vastus(100.0)
    assert "bone-lump" not in {one.code for one in check_bones(labels, image, shaped=False).findings}
