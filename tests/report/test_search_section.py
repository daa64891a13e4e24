from __future__ import annotations

import numpy as np

from srrd_ray.report.charts import losses
from srrd_ray.report.page import Note, Picture
from srrd_ray.report.run import Run
from srrd_ray.report.search_section import training_section


def test_losses_are_drawn_stage_by_stage_and_their_absence_is_said() -> None:
    epochs = [{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0, "other": 3.0}]
    run = Run(
        tables={}, metrics=None, manifest=None, outcomes=(), losses={"teach": {"learners": {"a": epochs}}}
    )
    (picture,) = training_section(run).blocks
    assert isinstance(picture, Picture)
    assert "teach" in picture.caption
    (note,) = training_section(Run(tables={}, metrics=None, manifest=None, outcomes=())).blocks
    assert isinstance(note, Note)


def test_every_network_is_named_under_its_losses_also_one_without_all_of_them() -> None:
    part, whole = {"epoch": 1.0, "loss": 1.0}, {"epoch": 1.0, "labels": 0.5, "loss": 2.0}
    figure = losses({"baseline": [whole], "teacher": [part]})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["baseline", "teacher"]
    colours = {line.get_label(): line.get_color() for line in figure.legends[0].get_lines()}
    drawn = {
        float(np.asarray(line.get_ydata())[0]): line.get_color()
        for axes in figure.axes
        for line in axes.get_lines()
    }
    assert drawn == {0.5: colours["baseline"], 2.0: colours["baseline"], 1.0: colours["teacher"]}
