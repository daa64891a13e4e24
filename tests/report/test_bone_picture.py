from __future__ import annotations

import numpy as np

from srrd_ray.morphometry.tally import Tally
from srrd_ray.report.bone_picture import BonePicture, bone_figure
from srrd_ray.report.style import png_bytes, styled


def picture(values: Tally) -> BonePicture:
    planes = tuple(np.full(shape, 0.2, np.float32) for shape in ((20, 30), (10, 30), (10, 20)))
    a, b, c = planes
    return BonePicture(
        title="bone",
        thickness=(a, b, c),
        spacing=(a, b, c),
        steps_mm=(0.1, 0.05, 0.05),
        bone=values,
        marrow=values,
    )


def test_the_picture_has_six_slices_in_their_shape_and_two_histograms_with_mean_and_sd() -> None:
    figure = bone_figure(picture(Tally(values=(0.1, 0.3), counts=(5, 5))))
    titles = [axes.get_title() for axes in figure.axes]
    assert sum(title.startswith("across") for title in titles) == 6
    assert "middle slices" in figure.get_suptitle()
    assert titles.count("0.2 ± 0.1 mm, at most 0.3") == 2
    left, right, bottom, top = figure.axes[1].images[0].get_extent()
    np.testing.assert_allclose([right - left, bottom - top], [1.5, 1.0])


def test_the_same_picture_has_the_same_bytes_also_without_values() -> None:
    with styled():
        one, two = (png_bytes(bone_figure(picture(Tally())), dpi=50) for _ in range(2))
    assert one == two
