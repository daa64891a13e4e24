"""How an image of bone is measured: the options of `srrd measure` for one image or a folder of images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import numpy as np

from srrd_ray import __version__
from srrd_ray.core.bones import BoneName
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import hash_json
from srrd_ray.morphometry.thickness import Mode, Wall

Source: TypeAlias = Literal["bone", "mr", "ct"]
Method: TypeAlias = Literal["3d", "paper"]
METHOD = 4
"""Counts what changed the numbers or the columns of a row since the last version."""
MOST_MM = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How an image is measured.

    Parameters
    ----------
    source
        What the image shows: ``bone`` (trabeculae resolved, as in microCT, or binary),
        ``mr`` or ``ct`` of a joint. Null: bone, unless it looks like a scan of a person (`doubts`).
    threshold
        ``auto``, ``binary`` or a grey value; for CT ``auto`` (calibration) or HU; for MR ``auto``.
    mode, surface
        As in `local_thickness`; for ``bone``.
    method
        ``paper``: the published 2D algorithm, for MR.
    bone
        Which bone: selects the label, the bone in CT where no mask is given, and the direction of the joint,
        for the thickness of the plate.
    marrow
        Grey value (MR) or HU (CT) of marrow alone; null: estimated from the MR, or `calibration.MARROW_HU`.
    mineral
        HU of mineralised tissue alone; null: as `calibration.MINERAL_HU`.
    roi_label, bone_label
        The label of the region, or of the bone, in a mask of several; null: the mask has one, or those of
        `BONE_LABELS`.
    spacing
        Voxel size in mm in place of that of the file: one number, or three for (z, y, x); null: the file's.

    Raises
    ------
    ConfigError
        `option-invalid` where two of them contradict each other, `threshold-invalid`, `spacing-invalid`.
    """

    source: Source | None = None
    threshold: str = "auto"
    mode: Mode = "exact"
    surface: Wall = "voxel"
    method: Method = "3d"
    bone: BoneName | None = None
    marrow: float | None = None
    mineral: float | None = None
    roi_label: int | None = None
    bone_label: int | None = None
    spacing: str | None = None

    def __post_init__(self) -> None:
        if self.spacing is not None:
            given_spacing(self.spacing)
        self._only("--marrow", self.marrow is not None, "mr", "ct")
        self._only("--mineral", self.mineral is not None, "ct")
        self._only("--method paper", self.method == "paper", "mr")
        self._only("--threshold", self.threshold != "auto", "bone", "ct")
        self._only("--threshold binary", self.threshold == "binary", "bone")
        self._only("--mode bonej", self.mode == "bonej", "bone")
        self._only("--surface subvoxel", self.surface == "subvoxel", "bone")
        if self.mode == "bonej" and self.surface == "subvoxel":
            raise ConfigError(
                "option-invalid", "BoneJ's definition has no sub-voxel surface", expected="one of the two"
            )
        if self.threshold not in ("auto", "binary"):
            grey_value(self.threshold)
            if self.kind == "ct" and (self.marrow, self.mineral) != (None, None):
                raise ConfigError(
                    "option-invalid", "a threshold needs no calibration", expected="one of the two"
                )

    @property
    def kind(self) -> Source:
        """What the image is measured as."""
        return self.source or "bone"

    def _only(self, option: str, given: bool, *sources: Source) -> None:
        if given and self.kind not in sources:
            expected = " or ".join(f"--from {source}" for source in sources)
            raise ConfigError(
                "option-invalid",
                f"{option} has no meaning here",
                got=f"--from {self.kind}",
                expected=expected,
            )

    def settings(self, *, roi: bool, bone_mask: bool) -> str:
        """Return the hash of all that the measures depend on except the image and its masks."""
        return hash_json(__version__, METHOD, asdict(self), roi, bone_mask)


def given_spacing(text: str) -> tuple[float, float, float]:
    """Return the voxel size (z, y, x) in mm of a text: one number, or three with commas between.

    Raises
    ------
    ConfigError
        `spacing-invalid`.

    >>> given_spacing("0.02")
    (0.02, 0.02, 0.02)
    >>> given_spacing("0.04,0.02,0.02")
    (0.04, 0.02, 0.02)
    """
    try:
        steps = [float(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        steps = []
    if len(steps) not in (1, 3) or not all(0 < step <= MOST_MM for step in steps):
        raise ConfigError(
            "spacing-invalid", "no such voxel size", got=repr(text[:32]),
            expected=f"millimetres above 0 and at most {MOST_MM:g}, one number or three for z,y,x, "
            "e.g. 0.02 or 0.04,0.02,0.02",
            todo="Decimals have a point; 50 µm is 0.05.",
        )  # fmt: skip
    z, y, x = steps * 3 if len(steps) == 1 else steps
    return z, y, x


def grey_value(text: str) -> float:
    """Return the grey value of a threshold given as text.

    Raises
    ------
    ConfigError
        `threshold-invalid` for anything but a finite number.
    """
    try:
        level = float(text)
    except ValueError:
        level = np.nan
    if not np.isfinite(level):
        raise ConfigError(
            "threshold-invalid",
            "no such threshold",
            got=repr(text[:32]),
            expected="auto, binary or a grey value with a decimal point",
        )
    return level
