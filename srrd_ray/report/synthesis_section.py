"""The section on the synthetic CT: its figures in knees that it never learnt from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from srrd_ray.core.bones import BONE_OF, BONES
from srrd_ray.core.json_tree import Json, at
from srrd_ray.report.content import number
from srrd_ray.report.page import Block, Grid, Note, Section
from srrd_ray.report.run import Run, draw_or_note
from srrd_ray.report.style import COLOURS, canvas

PARTS = {
    "field": "whole field of view",
    "body": "body",
    "bone": "femur and tibia",
    "soft": "body without these bones",
    "air": "air",
}
INTRO = (
    "Synthetic CT against CT, of patients that no network of the synthesis saw. Both are clipped to -1000 to "
    "2000 HU, the range of PSNR and SSIM; the mean difference is synthetic minus real."
)
ALIGNED = {
    "truth": "The CT lies on the MR by the true poses of the bones; soft tissue follows them, so that its "
    "figures, away from the bones, hold what it moved by itself.",
    "registration": "The CT lies on the MR by the poses that were found: what they are off counts as an "
    "error of the synthesis, and knees whose bones were all refused are not among these.",
}


def synthesis_section(run: Run) -> Section:
    """Return the section; it says so where no patient was held out."""
    held_out, rounds = (at(run.metrics, "synthesis", key) for key in ("held_out", "round_two"))
    blocks = (*_rounds(rounds), *_blocks(held_out))
    return Section(anchor="synthetic-ct", title="Synthetic CT", intro=INTRO, blocks=blocks)


def _rounds(rounds: Json) -> tuple[Note, ...]:
    """Return which round made the synthetic CT, and why."""
    if rounds is None:
        return ()
    which = (
        "of round two, which learnt from slices that registration had aligned"
        if at(rounds, "used") is True
        else "of round one, without slices that registration had aligned"
    )
    return (Note(text=f"The synthetic CT is {which}: {at(rounds, 'reason')}."),)


def _blocks(held_out: Json) -> list[Block]:
    parts = at(held_out, "parts")
    if not isinstance(parts, Mapping):
        return [Note(text=f"No figures: {at(held_out, 'reason') or 'this run did not come so far'}.")]
    words = ALIGNED.get(str(at(held_out, "aligned_by")), "")
    caption = f"{at(held_out, 'knees')} knees of {at(held_out, 'patients')} patients; means (SD). {words}"
    blocks: list[Block] = [_images(parts, caption), _bones(parts)]
    layers = {name: part for name, part in parts.items() if name.startswith("depth")}
    if layers:
        caption = "Mean HU of layers under the surface of femur and tibia (negative: outside)."
        blocks.append(
            draw_or_note(lambda: profile(layers), "HU against depth under the surface", caption, wide=False)
        )
    return blocks


def _images(parts: Mapping[str, Json], caption: str) -> Grid:
    rows = tuple(
        (
            words,
            _spread(parts[part], "mae_hu", 0),
            _spread(parts[part], "me_hu", 0),
            _spread(parts[part], "psnr_db", 1),
            _spread(parts[part], "ssim", 3),
        )
        for part, words in PARTS.items()
        if part in parts
    )
    header = ("Part", "mean absolute error, HU", "mean difference, HU", "PSNR, dB", "SSIM")
    return Grid(header=header, rows=rows, caption=caption)


def _bones(parts: Mapping[str, Json]) -> Grid:
    rows = tuple(
        (bone, _spread(parts[bone], "dice", 3), _spread(parts[bone], "surface_mm", 2))
        for bone in BONES
        if bone in parts
    )
    caption = "Bones found in the synthetic CT against those of the CT; distance of surfaces both ways, mean."
    return Grid(header=("Bone", "Dice", "surfaces apart, mm"), rows=rows, caption=caption)


def _spread(part: Json, figure: str, digits: int) -> str:
    """Return a mean with its SD in brackets, where there is one."""
    spread = at(part, f"{figure}_sd")
    shown = number(at(part, figure), digits)
    return shown if spread is None else f"{shown} ({number(spread, digits)})"


def profile(layers: Mapping[str, Json]) -> Figure:
    """Return the chart of HU against depth; `layers` are named ``depth <low> to <high> mm``."""
    figure, [[axes]] = canvas(5.2, 2.9)
    middle = {name: (float(name.split()[1]) + float(name.split()[3])) / 2 for name in layers}
    inwards = sorted(layers, key=middle.__getitem__)
    for key, label, colour in (
        ("ct_hu", "CT", COLOURS["plain"]),
        ("synthetic_hu", "synthetic CT", BONE_OF["tibia"].colour),
    ):
        values = np.array([at(layers[name], key) for name in inwards], dtype=np.float64)
        axes.plot([middle[name] for name in inwards], values, "o-", color=colour, label=label, markersize=3)
    axes.axvline(0.0, color=COLOURS["pale"], linewidth=0.9, linestyle="--")
    axes.set(xlabel="depth under the surface (mm)", ylabel="mean HU")
    figure.legend(loc="outside upper center", ncols=2)
    return figure
