"""Whether found bones can be those of a person: specks are tidied and counted, all else is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Shape
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.segmentation.classes import BONES, CLASSES, FEMUR, FIBULA, PATELLA, TIBIA
from srrd_ray.segmentation.edges import edge_support
from srrd_ray.segmentation.lumps import LUMP_CM3, OUTSIDE_MM, Lump, find_lump

Mask = NDArray[np.bool_]
Box: TypeAlias = tuple[slice, ...]
SPECK_SHARE, HOLE_CM3 = 0.02, 0.5
"""Islands below this share of a bone are removed, holes below this size filled; larger ones refused."""
LEAST_CM3: Final = {FEMUR: 2.0, TIBIA: 2.0}
"""Of what has to be seen: less is not enough to register."""
WHOLE_CM3: Final = {PATELLA: (6.0, 45.0)}
"""Of a bone that the field of view does not cut: the range of adults, widened by a third."""
LARGEST_CM2: Final = {FEMUR: 75.0, TIBIA: 62.0, FIBULA: 12.0, PATELLA: 20.0}
"""Of an axial section."""
NEEDED: Final = (FEMUR, TIBIA)
"""Bones whose findings refuse a knee; the others only help to tell its side."""
LEAST_SUPPORT, SURE_SUPPORT = 0.7, 0.85
"""Share of a bone's surface on an edge of the image (`edge_support`): below it is refused, or doubted."""
ENDS_MM: Final = 25.0
"""A shaft goes on as far as the image does: how far from its edge it may end."""
JOINT_MM: Final = 15.0
"""Between femur and tibia at their nearest."""
LEAST_CONVEX: Final = {FEMUR: 0.3, TIBIA: 0.6}
"""Share of its convex outline that an axial section fills: condyles have a notch, a tibia has none."""
LARGEST_MISFIT_MM: Final = 2.0
"""Of what is left of a bone without its lump, from shapes that people have: true bones have 1.4 at most."""
AROUND_MM: Final = 8.0
"""A bone's box, in which lumps are looked for."""
SECTION_CM2, SECTION_MM = 8.0, 1.5
"""Of the sections that are looked at, and the grid of that."""
CM3, CM2 = 1000.0, 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that cannot be: `code`, the bone, and what was seen against what people have."""

    code: str
    bone: str
    got: str
    expected: str
    doubt: bool = False
    """Whether the bone may be right all the same."""

    def __str__(self) -> str:
        return f"{self.bone}: {self.code}, got {self.got}, expected {self.expected}"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checked:
    """Tidied labels, how much was tidied (cm³ of specks and of holes), and what cannot be.

    `lumps` holds the number of a bone where a lump of it was cut off, else 0; null where none was.
    """

    labels: Volume[np.uint8]
    lumps: Volume[np.uint8] | None
    specks_cm3: float
    holes_cm3: float
    findings: tuple[Finding, ...]

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings that refuse the knee: those of femur and tibia."""
        needed = {CLASSES[number] for number in NEEDED}
        return tuple(one for one in self.findings if one.bone in needed and not one.doubt)

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """The findings of the other bones, and those that may be right."""
        return tuple(one for one in self.findings if one not in self.refusals)


def check_bones(
    labels: Volume[np.uint8], image: Volume[Scalar] | None = None, *, shaped: bool = True
) -> Checked:
    """Return the labels without specks, small holes and lumps that can be cut off, and all findings.

    Codes of findings: `bone-missing`, `bone-island`, `bone-hole`, `bone-lump`, `bone-volume`, `bone-order`,
    `bone-ends`, and with the image that the bones were found in `bone-surface`. Lumps are looked for where
    `shaped`: the image shows enough of the bones.
    """
    tidied = Volume(array=labels.array.copy(), geometry=labels.geometry)
    lumps = Volume(array=np.zeros_like(labels.array), geometry=labels.geometry)
    boxes = [*ndimage.find_objects(tidied.array), *(None,) * len(BONES)]
    numbers = range(1, len(BONES) + 1)
    specks = [_drop_specks(tidied, n, boxes[n - 1]) for n in numbers]
    told = {n: _cut_lump(tidied, lumps, n, boxes[n - 1], image) for n in NEEDED if shaped}
    left = {n: parts for n, (found, parts) in told.items() if any(one.doubt for one in found)}
    if image is not None:  # what edges part from it is no island
        specks = [one._replace(parts=left.get(n, one.parts)) for n, one in zip(numbers, specks, strict=True)]
    holes = [_fill_holes(tidied, n, boxes[n - 1]) for n in numbers]
    lumps.array[tidied.array > 0] = 0
    of_bones = [_check_bone(tidied, n, boxes[n - 1], specks[n - 1], holes[n - 1]) for n in numbers]
    surfaces = [] if image is None else _surfaces(tidied, image)
    of_lumps = [found for found, _ in told.values()]
    return Checked(
        labels=tidied,
        lumps=lumps if left else None,
        specks_cm3=sum(one.cm3 for one in specks),
        holes_cm3=sum(one.cm3 for one in holes),
        findings=(*chain(*of_lumps, *of_bones), *_order(tidied), *_ends(tidied), *surfaces),
    )


def require_plausible(checked: Checked) -> Volume[np.uint8]:
    """Return the tidied labels, without a fibula or patella that cannot be.

    Raises
    ------
    InputError
        With the code of the first finding of femur or tibia; the text names all of them.
    """
    if checked.refusals:
        raise implausible_error(checked.refusals)
    lost = [
        number for number in (FIBULA, PATELLA) if any(f.bone == CLASSES[number] for f in checked.findings)
    ]
    array = checked.labels.array
    return Volume(array=np.where(np.isin(array, lost), np.uint8(0), array), geometry=checked.labels.geometry)


def implausible_error(findings: Sequence[Finding]) -> InputError:
    """Return what is raised for bones that cannot be: the code of the first finding, the text of all."""
    return InputError(
        findings[0].code, "the bones that were found cannot be those of a knee",
        got="; ".join(str(finding) for finding in findings),
        todo="Look at modality, orientation, field of view, metal; or give a mask of your own.",
    )  # fmt: skip


class _Tidied(NamedTuple):
    """cm³ of specks that were removed, or of holes that were filled; parts left, or the largest hole."""

    cm3: float = 0.0
    parts: int = 0
    largest_cm3: float = 0.0


def _drop_specks(labels: Volume[np.uint8], number: int, box: Box | None) -> _Tidied:
    """Return what was removed of one bone, in place; `box` is where it is."""
    if box is None:
        return _Tidied()
    part = labels.array[box]
    mask = part == number
    whole, parts = _without_specks(mask)
    specks = mask & ~whole
    part[specks] = 0
    return _Tidied(cm3=float(specks.sum()) * labels.geometry.voxel_mm3 / CM3, parts=parts)


def _fill_holes(labels: Volume[np.uint8], number: int, box: Box | None) -> _Tidied:
    """Return what was filled of one bone, in place; other bones stay what they are."""
    if box is None:
        return _Tidied()
    part, voxel_cm3 = labels.array[box], labels.geometry.voxel_mm3 / CM3
    mask = part == number
    filled, hole = _without_holes(
        Volume(array=mask, geometry=labels.geometry.crop(_start(box), _shape(part)))
    )
    filled &= mask | ~np.isin(part, range(1, len(BONES) + 1))
    part[filled] = number
    return _Tidied(cm3=float((filled & ~mask).sum()) * voxel_cm3, largest_cm3=hole * voxel_cm3)


def _cut_lump(
    labels: Volume[np.uint8],
    lumps: Volume[np.uint8],
    number: int,
    box: Box | None,
    image: Volume[Scalar] | None,
) -> tuple[tuple[Finding, ...], int]:
    """Return what bulges out of a bone, and the parts left once it is moved to `lumps`, if it can be."""
    if box is None:
        return (), 0
    wide = _widened(box, labels)
    part = labels.array[wide]
    bone = Volume(array=part == number, geometry=labels.geometry.crop(_start(wide), _shape(part)))
    lump = find_lump(bone, number, image)
    if lump is None:
        return (), 0
    finding = _lump_finding(lump, CLASSES[number])
    if not finding.doubt:
        return (finding,), 0
    whole, parts = _without_specks(bone.array & ~lump.mask)
    cut = bone.array & ~whole
    part[cut] = 0
    lumps.array[wide][cut] = number
    return (finding,), parts


def _lump_finding(lump: Lump, bone: str) -> Finding:
    """Return what a lump is called, and whether it can be cut off: where the image has an edge at the cut,
    and the rest is shaped as people's bones.
    """
    words = f"{lump.cm3:.1f} cm3 up to {lump.farthest_mm:.0f} mm outside of the shapes of people"
    no_edge = lump.on_edges is not None and lump.on_edges < LEAST_SUPPORT
    misfit = lump.misfit_mm > LARGEST_MISFIT_MM
    if no_edge:
        words += f", {lump.on_edges:.2f} of its border with the bone on edges"
    if misfit:
        words += f", the rest {lump.misfit_mm:.1f} mm from those shapes"
    cut = not (no_edge or misfit)
    return Finding(
        code="bone-lump", bone=bone, got=f"{words}, cut off" if cut else words,
        expected=f"less than {LUMP_CM3:g} cm3 beyond {OUTSIDE_MM:g} mm", doubt=cut,
    )  # fmt: skip


def _check_bone(
    labels: Volume[np.uint8], number: int, box: Box | None, specks: _Tidied, holes: _Tidied
) -> tuple[Finding, ...]:
    """Return what is wrong with one bone by itself."""
    if box is None:
        return _volume(number, 0.0, cut=True)
    name, part = CLASSES[number], labels.array[box]
    bone = Volume(array=part == number, geometry=labels.geometry.crop(_start(box), _shape(part)))
    cut = any(s.start == 0 or s.stop == n for s, n in zip(box, labels.array.shape, strict=True))
    findings = _volume(number, float(bone.array.sum()) * labels.geometry.voxel_mm3 / CM3, cut=cut)
    if specks.parts > 1:
        findings += (Finding(code="bone-island", bone=name, got=f"{specks.parts} parts", expected="one"),)
    whole_share = _convex_share(bone)
    if number in LEAST_CONVEX and whole_share < LEAST_CONVEX[number]:
        expected = f"{LEAST_CONVEX[number]:g} or more of its outline filled in every axial section"
        findings += (Finding(code="bone-hole", bone=name, got=f"{whole_share:.2f}", expected=expected),)
    if holes.largest_cm3 > HOLE_CM3:
        findings += (_over("bone-hole", name, holes.largest_cm3, HOLE_CM3, "cm3"),)
    sections = _sections_cm2(bone)
    if sections > LARGEST_CM2[number]:
        findings += (_over("bone-volume", name, sections, LARGEST_CM2[number], "cm2 across"),)
    return findings


def _widened(box: Box, labels: Volume[np.uint8]) -> Box:
    """Return a box with some millimetres around it, as far as the image goes."""
    margins = [int(np.ceil(AROUND_MM / step)) for step in labels.geometry.spacing_mm]
    return tuple(
        slice(max(s.start - m, 0), min(s.stop + m, n))
        for s, m, n in zip(box, margins, labels.array.shape, strict=True)
    )


def _start(box: Box) -> Shape:
    return box[0].start, box[1].start, box[2].start


def _shape(array: NDArray[np.uint8]) -> Shape:
    return array.shape[0], array.shape[1], array.shape[2]


def _over(code: str, bone: str, got: float, most: float, unit: str) -> Finding:
    return Finding(code=code, bone=bone, got=f"{got:.1f} {unit}", expected=f"at most {most:g} {unit}")


def _without_specks(mask: Mask) -> tuple[Mask, int]:
    """Return the parts of a bone that are no specks, and how many they are."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = sizes >= max(SPECK_SHARE * sizes.sum(), 1)
    return kept[parts], int(kept.sum())


def _without_holes(bone: Volume[np.bool_]) -> tuple[Mask, int]:
    """Return a bone with its holes filled, and the voxels of the largest.

    A hole is closed in an axial plane: one that the field of view lays open above or below counts too.
    """
    filled = bone.array.copy()
    planes = Volume(array=filled, geometry=bone.geometry).in_lps_order()
    for plane in planes:
        plane[...] = ndimage.binary_fill_holes(plane)
    parts, count = ndimage.label(filled & ~bone.array)
    return filled, int(np.bincount(parts.ravel())[1:].max()) if count else 0


def _sections_cm2(bone: Volume[np.bool_]) -> float:
    """Return the largest axial section."""
    _, y, x = bone.geometry.lps_order().spacing_mm
    return float(bone.in_lps_order().sum(axis=(1, 2)).max()) * y * x / CM2


def _convex_share(bone: Volume[np.bool_]) -> float:
    """Return the least share of its convex outline that a large axial section fills; 1 without any."""
    spacing = bone.geometry.lps_order().spacing_mm
    skips = [max(round(SECTION_MM / step), 1) for step in spacing]
    planes = bone.in_lps_order()[:: skips[0], :: skips[1], :: skips[2]]
    cm2 = spacing[1] * skips[1] * spacing[2] * skips[2] / CM2
    shares = []
    for plane in planes:
        if plane.sum() * cm2 >= SECTION_CM2:
            corners = np.argwhere(plane)[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
            shares.append(float(plane.sum() / ConvexHull(corners.reshape(-1, 2)).volume))
    return float(np.percentile(shares, 5)) if shares else 1.0


def _volume(number: int, cm3: float, *, cut: bool) -> tuple[Finding, ...]:
    """Return whether a bone is missing, too little or too much."""
    name, least = CLASSES[number], LEAST_CM3.get(number, 0.0)
    if cm3 < least:
        return (
            Finding(code="bone-missing", bone=name, got=f"{cm3:.1f} cm3", expected=f"{least:g} cm3 or more"),
        )
    low, high = WHOLE_CM3.get(number, (0.0, np.inf))
    if cm3 > high or (cm3 < low and not cut):
        return (
            Finding(code="bone-volume", bone=name, got=f"{cm3:.1f} cm3", expected=f"{low:g} to {high:g} cm3"),
        )
    return ()


def _order(labels: Volume[np.uint8]) -> tuple[Finding, ...]:
    """Return whether bones lie where they cannot: a femur under the tibia, a patella behind the femur."""
    middle = {number: _middle(labels, number) for number in (FEMUR, TIBIA, PATELLA)}
    femur, tibia, patella = (middle[number] for number in (FEMUR, TIBIA, PATELLA))
    found: tuple[Finding, ...] = ()
    if femur is not None and tibia is not None and femur[2] <= tibia[2]:
        found += (Finding(code="bone-order", bone="femur", got="below the tibia", expected="above it"),)
    if femur is not None and patella is not None and patella[1] >= femur[1]:
        found += (
            Finding(code="bone-order", bone="patella", got="behind the femur", expected="in front of it"),
        )
    gap = _gap_mm(labels)
    if gap > JOINT_MM:
        found += (_over("bone-order", "tibia", gap, JOINT_MM, "mm from the femur"),)
    return found


def _gap_mm(labels: Volume[np.uint8]) -> float:
    """Return the least distance between femur and tibia, to some millimetres; 0 where one is missing."""
    femur, tibia = (_points(labels, number) for number in (FEMUR, TIBIA))
    if not (len(femur) and len(tibia)):
        return 0.0
    return float(cKDTree(femur).query(tibia)[0].min())


def _points(labels: Volume[np.uint8], number: int) -> NDArray[np.float64]:
    """Return voxels of a bone some 2 mm apart, LPS mm."""
    skips = [max(int(2.0 / step), 1) for step in labels.geometry.spacing_mm]
    few = labels.array[:: skips[0], :: skips[1], :: skips[2]]
    return labels.geometry.index_to_lps(np.argwhere(few == number) * skips)


def _ends(labels: Volume[np.uint8]) -> list[Finding]:
    """Return whether the shaft of femur or tibia ends within the image, which has to cut it."""
    found = []
    for number, up in ((FEMUR, 1.0), (TIBIA, -1.0)):
        points = _points(labels, number)
        if not len(points):
            continue
        heights = up * points[:, 2]
        end = labels.geometry.lps_to_index(points[heights >= np.percentile(heights, 99)])
        last = np.array(labels.geometry.shape) - 1
        away = float(np.median((np.minimum(end, last - end) * labels.geometry.spacing_mm).min(axis=1)))
        if away > ENDS_MM:
            found.append(_over("bone-ends", CLASSES[number], away, ENDS_MM, "mm from the edge of the image"))
    return found


def _surfaces(labels: Volume[np.uint8], image: Volume[Scalar]) -> list[Finding]:
    """Return whether the surfaces of femur and tibia lie where the image has no edge."""
    found = []
    for number in NEEDED:
        mask = labels.array == number
        share = edge_support(image, mask) if mask.any() else None
        if share is None or share >= SURE_SUPPORT:
            continue
        doubt = share >= LEAST_SUPPORT
        least = SURE_SUPPORT if doubt else LEAST_SUPPORT
        found.append(
            Finding(
                code="bone-surface", bone=CLASSES[number], got=f"{share:.2f} of its surface on edges",
                expected=f"{least:g} or more", doubt=doubt,
            )
        )  # fmt: skip
    return found


def _middle(labels: Volume[np.uint8], number: int) -> NDArray[np.float64] | None:
    """Return the centre of a bone, LPS mm; none where it was not found."""
    points = _points(labels, number)
    return points.mean(axis=0) if len(points) else None
