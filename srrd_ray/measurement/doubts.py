"""What makes a measurement doubtful: said as a FLAG, or refused where its numbers would mean nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from srrd_ray.core.bones import BONES
from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.source import SPACING_ABSENT, Note
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.morphometry.measures import BoneMeasures

RESOLVED_MM = 0.3
"""Largest voxel that shows trabeculae (`morphometry.md`, fault 48)."""
FINEST_MM = 0.0002
"""Smallest voxel of any CT: 0.2 µm, of a synchrotron."""
PERSON_MM = 50.0
"""Longest side from which coarse voxels mean a scan of a person, not a sample."""
SHARE_OF_VIEW = 0.1
"""Share of the longest side above which a mean thickness is doubtful."""
THICKEST_MM = 5.0
"""Mean thickness that no trabecular bone of any animal has."""
LEAST_VOXELS = 3.0
"""Mean thickness in voxels below which it is mostly that of the voxels: one voxel already reads as two."""
UNITS = "-units"
"""Ending of the codes of notes of the readers about the unit of a file."""


def has_scale(notes: Iterable[Note]) -> bool:
    """Return whether lengths are millimetres: the file, or the user, gave a voxel size."""
    return all(note.code != SPACING_ABSENT for note in notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """Looks at an image, and at what was measured of it as trabecular bone.

    Parameters
    ----------
    where
        Name of the image.
    guessed
        Whether a threshold of Otsu decides what is bone: then nobody has looked.
    notes
        What the reader says of the image, of its voxel size and unit too.
    """

    where: str
    grid: Geometry
    recipe: Recipe
    guessed: bool
    notes: tuple[Note, ...]

    def image(self) -> tuple[Note, ...]:
        """Return the doubts about the image, before it is measured.

        Raises
        ------
        ConfigError
            `source-unstated` for what looks like a scan of a person: Otsu would find the skin.
        """
        return self._turned() + self._scaled()

    def _turned(self) -> tuple[Note, ...]:
        """Return a FLAG where the stored axes, which what is told by axis follows, are not the patient's."""
        columns = np.abs(self.grid.affine[:3, 2::-1])  # of the stored z, y, x
        names = ["xyz"[axis] for axis in columns.argmax(axis=0)]
        if names == ["z", "y", "x"]:
            return ()
        text = f"the stored z, y, x lie along the patient's {', '.join(names)}"
        return (_flag("axes-stored", f"{text}: DA.axis and the spacing are told by the stored ones"),)

    def _scaled(self) -> tuple[Note, ...]:
        step, side = max(self.grid.spacing_mm), self._side
        if self._scale and min(self.grid.spacing_mm) < FINEST_MM:
            finest = f"voxels of {min(self.grid.spacing_mm):.3g} mm"
            return (_flag("voxels-fine", f"{finest}, finer than any scanner's: is the unit right?"),)
        if step <= RESOLVED_MM or not self._scale:
            return ()
        if self._unstated and side >= PERSON_MM:
            raise ConfigError(
                "source-unstated",
                f"{self._unit}this looks like a scan of a person, not like resolved trabeculae",
                where=self.where, got=f"voxels of {step:.3g} mm over {side:.3g} mm",
                expected=f"voxels of at most {RESOLVED_MM:g} mm",
                todo=f"Add --from ct --bone {'|'.join(BONES)} (CT in HU), or --from mr --bone-mask MASK; "
                "where the voxel size is wrong give --spacing; --from bone measures it all the same.",
            )  # fmt: skip
        return (_flag("voxels-coarse", f"voxels of {step:.3g} mm do not resolve trabeculae"),)

    def measures(self, found: BoneMeasures) -> tuple[Note, ...]:
        """Return the doubts about what was measured.

        Raises
        ------
        InputError
            `thickness-implausible` where nobody chose the threshold and no trabeculae are as thick.
        """
        thickness, step = found.tb_th_mm, max(self.grid.spacing_mm)
        if thickness is None:
            return ()
        notes: list[Note] = []
        if thickness > SHARE_OF_VIEW * self._side:
            unit = "mm" if self._scale else "voxels"
            text = f"mean thickness {thickness:.3g} {unit} in a field of view of {self._side:.3g} {unit}"
            if self._unstated and self._scale and thickness > THICKEST_MM:
                raise InputError(
                    "thickness-implausible", f"{text}: that is no trabecular bone", where=self.where,
                    expected=f"at most {THICKEST_MM:g} mm",
                    todo="Look at the image; give --threshold VALUE, --roi MASK, --from ct|mr or --spacing; "
                    "--from bone measures it all the same.",
                )  # fmt: skip
            notes.append(_flag("thickness-large", f"{text}: look at what was taken as bone"))
        if thickness < LEAST_VOXELS * step:
            text = f"mean thickness of {thickness / step:.2g} voxels: they are too large to measure it"
            notes.append(_flag("thickness-small", text))
        return tuple(notes)

    @property
    def _unstated(self) -> bool:
        return self.guessed and self.recipe.source is None

    @property
    def _scale(self) -> bool:
        return has_scale(self.notes)

    @property
    def _unit(self) -> str:
        """What is doubtful about the unit of the file, as the beginning of a refusal."""
        doubts = (
            note.message for note in self.notes if note.severity == "FLAG" and note.code.endswith(UNITS)
        )
        return next((f"{text}; so " for text in doubts), "")

    @property
    def _side(self) -> float:
        return max(n * step for n, step in zip(self.grid.shape, self.grid.spacing_mm, strict=True))


def _flag(code: str, message: str) -> Note:
    return Note(severity="FLAG", code=code, message=message)


def doubt_region(inside: int, total: int) -> tuple[Note, ...]:
    """Return the doubts about a region of `total` voxels of which `inside` were scanned.

    Raises
    ------
    InputError
        `region-not-scanned` where it lies outside.
    """
    if inside == total:
        return ()
    text = f"{total - inside} of {total} voxels of the region lie outside what was scanned"
    if inside == 0:
        raise InputError("region-not-scanned", text, todo="Check --roi.")
    return (_flag("region-not-scanned", f"{text}; they count as marrow"),)
