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
from tests.segmentation.planted import knee_labels

Array = NDArray[np.uint8]


def test_a_knee_passes_unchanged() -> None:
    labels = knee_labels()
    checked = check_bones(labels)
    assert checked.findings == ()
    assert checked.specks_cm3 == checked.holes_cm3 == 0
    assert np.array_equal(require_plausible(checked).array, labels.array)


def test_specks_and_small_holes_are_tidied_and_counted() -> None:
    labels = knee_labels()
    labels.array[2, 2, 2] = TIBIA
    labels.array[40, 30, 24] = 0
    checked = check_bones(labels)
    assert checked.findings == ()
    assert checked.specks_cm3 == pytest.approx(0.008)
    assert checked.holes_cm3 == pytest.approx(0.008)
    assert np.array_equal(checked.labels.array, knee_labels().array)
    assert labels.array[2, 2, 2] == TIBIA  # what was given is left alone


def _hole(a: Array) -> None:
    a[40:45, 28:33, 23:28] = 0


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
    labels = knee_labels()
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
    labels = knee_labels()
    top = int(np.argwhere(labels.array == PATELLA)[:, 0].min()) + 2
    cut = labels.crop((0, 0, 0), (top, *labels.array.shape[1:]))
    assert "patella" not in {
        f.bone for f in check_bones(Volume(array=cut.array.copy(), geometry=cut.geometry)).findings
    }


def test_a_bone_whose_surface_lies_on_no_edge_of_the_image_is_refused() -> None:
    labels = knee_labels()
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
