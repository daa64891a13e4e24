"""Exact local thickness: the diameter of the largest ball inside a phase that covers each voxel.

Hildebrand & Rüegsegger, J. Microsc. 185:67 (1997): T(x) = 2·max{ D(c) :
|x - c| ≤ D(c) }, with c and x voxel centres of the phase and D(c) the distance from c to the nearest voxel
centre of the other phase.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.morphometry.compiled import compiled
from srrd_ray.morphometry.distance import squared_distance_mm, squared_distance_voxels
from srrd_ray.morphometry.painting import paint_mm, paint_voxels

Border: TypeAlias = Literal["open", "closed"]
Spacing: TypeAlias = tuple[float, float, float]
Mode: TypeAlias = Literal["exact", "bonej"]
Wall: TypeAlias = Literal["voxel", "subvoxel"]
Map: TypeAlias = NDArray[np.float64]
Real = TypeVar("Real", NDArray[np.float64], NDArray[np.float32])


def local_thickness(
    mask: ArrayLike,
    spacing_mm: float | ArrayLike,
    *,
    border: Border = "open",
    mode: Mode = "exact",
    surface: Wall = "voxel",
    grey: ArrayLike | None = None,
    field: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
    threads: int = 1,
) -> Map:
    """Return the local thickness of `mask` in mm, 0 outside it.

    Parameters
    ----------
    mask
        (z, y, x) phase; non-zero is inside.
    spacing_mm
        Voxel size along (z, y, x), mm, or one number. Three that agree to a part in 10⁵ count as one.
    border
        ``open``: the image edge is no wall. ``closed``: as if padded with one voxel of the other phase.
    mode
        ``exact``, or ``bonej``: balls reach over the phase, every voxel on the surface of what they cover
        takes the mean of its interior 26-neighbours, and the map is masked last, as BoneJ2 does;
        it reads 0-5 % higher.
    surface
        ``voxel``: the wall is the nearest voxel centre of the other phase, as defined. ``subvoxel``: it runs
        between the voxels, where `grey` is zero or, without it,
        where the smoothed mask crosses one half (`subvoxel.py`, with its bias); for mode ``exact`` only.
    grey
        Grey image less its threshold: positive in the phase, negative outside. Used for ``subvoxel`` only.
    field
        Where the image was scanned, of the same shape; null for everywhere. Its edge is that of an image of
        any shape: no wall under an open border, whatever `mask` holds beyond, and a wall under a closed one.
        Outside there are no balls' centres and no thickness.
    dtype
        float64, or float32 to halve the memory.
    threads
        Threads of this call, 0 for all cores; the result does not depend on it.

    Returns
    -------
    NDArray
        Exact for isotropic spacing (integer arithmetic; one rounding at the end); to 1e-9 mm otherwise.
        Where the other phase is empty and the border open there is no wall: the thickness is inf.

    Raises
    ------
    InputError
        `mask-invalid` where the mask is not a volume, `spacing-invalid` where a spacing is not positive and
        finite, `grey-mismatch`, and `surface-mode` for ``subvoxel`` with mode ``bonej``.

    Examples
    --------
    A plate of six voxels of 0.05 mm is 0.3 mm thick everywhere; outside it there is no thickness.

    >>> plate = np.zeros((12, 20, 20), dtype=bool)
    >>> plate[3:9] = True
    >>> thickness = local_thickness(plate, 0.05)
    >>> sorted(set(thickness[plate].round(6).tolist()))
    [0.3]
    >>> thickness[~plate].any().item()
    False
    """
    phase, steps = parse_phase(mask), parse_spacing(spacing_mm)
    scanned = None if field is None else parse_region(field, phase.shape)
    if border == "closed" and scanned is not None:
        phase, scanned = phase & scanned, None
    inner = np.pad(phase, 1) if border == "closed" else phase
    if surface == "subvoxel":
        if mode == "bonej":
            raise InputError(
                "surface-mode", "BoneJ's definition has no sub-voxel surface", expected="mode 'exact'"
            )
        diameter = _subvoxel(phase, inner, steps, scanned, grey).astype(dtype)
        return np.ascontiguousarray(diameter[1:-1, 1:-1, 1:-1]) if border == "closed" else diameter
    squared, factor = squared_radii(inner, steps, scanned, beyond=mode == "bonej", threads=threads)
    diameter = _diameter(squared, 2.0 * factor, dtype)
    if mode == "bonej":
        diameter = trim_surface(diameter, scanned) * (inner if scanned is None else inner & scanned)
    return np.ascontiguousarray(diameter[1:-1, 1:-1, 1:-1]) if border == "closed" else diameter


def _subvoxel(
    phase: NDArray[np.bool_],
    inner: NDArray[np.bool_],
    steps: Spacing,
    scanned: NDArray[np.bool_] | None,
    grey: ArrayLike | None,
) -> Map:
    """Return the sub-voxel thickness of `inner`: the phase, maybe with a closed border of one voxel."""
    # here: its tree takes long to import
    from srrd_ray.morphometry.subvoxel import subvoxel_diameter, wall_level

    if inner.shape == phase.shape or grey is None:
        return subvoxel_diameter(wall_level(inner, grey), steps, scanned, from_mask=grey is None)
    level = wall_level(phase, grey)
    walled = np.pad(level, 1, constant_values=-float(np.abs(level).max()))
    return subvoxel_diameter(walled, steps, scanned, from_mask=False)


def parse_phase(mask: ArrayLike) -> NDArray[np.bool_]:
    """Return `mask` as a C-contiguous boolean volume; what a masked array hides is outside.

    Raises
    ------
    InputError
        `mask-invalid` for other than three axes, NaN, or several values without a zero among them.
    """
    array = _shown(mask)
    if array.ndim != 3 or array.size == 0:
        raise InputError("mask-invalid", "a mask is a volume (z, y, x)", got=f"shape {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError("mask-invalid", "a mask has no NaN", todo="Threshold the image first.")
    if array.dtype != np.bool_ and array.all() and array.min() != array.max():
        raise InputError(
            "mask-invalid", "no voxel of the mask is zero, so all of it would be inside",
            got=f"values from {array.min()} to {array.max()}", expected="0 outside",
            todo="Threshold the image first.",
        )  # fmt: skip
    return np.ascontiguousarray(array if array.dtype == np.bool_ else array != 0)


def parse_region(roi: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the region as a boolean volume of `shape`; all of it where absent.

    What a masked array hides is outside.

    Raises
    ------
    InputError
        `roi-mismatch` where the region lies on another grid, `mask-values` where it holds NaN or more than
        one value beside zero.
    """
    if roi is None:
        return np.ones(shape, dtype=np.bool_)
    given = _shown(roi)
    region: NDArray[np.bool_] = given.astype(np.bool_, copy=False)
    labels = np.empty(0) if region is given else given[region]
    if labels.size and not labels.min() == labels.max():  # also for NaN
        raise InputError(
            "mask-values", "a region has one label", got=f"values from {labels.min()} to {labels.max()}",
            expected="0 and one other", todo="Give one label: roi == label.",
        )  # fmt: skip
    if region.shape != shape:
        raise InputError(
            "roi-mismatch",
            "the region and the image differ in shape",
            got=str(region.shape),
            expected=str(shape),
        )
    return region


def _shown(values: ArrayLike) -> NDArray[np.generic]:
    """Return an array; what a masked array hides is zero."""
    array: NDArray[np.generic] = (
        np.ma.filled(values, 0) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    )
    return array


def parse_spacing(spacing_mm: float | ArrayLike) -> Spacing:
    """Return the voxel size (z, y, x) in mm, positive and finite."""
    steps = np.asarray(spacing_mm, dtype=np.float64)
    if steps.shape not in {(), (3,)} or not (np.isfinite(steps).all() and (steps > 0).all()):
        raise InputError(
            "spacing-invalid", "voxel spacing is one or three positive numbers of mm", got=str(steps.tolist())
        )
    z, y, x = np.broadcast_to(steps, 3).tolist()
    return z, y, x


def trim_surface(diameter: Real, scanned: NDArray[np.bool_] | None = None) -> Real:
    """Return the map with each surface voxel replaced by the mean of its interior
    26-neighbours (kept where it has none).

    The rule of BoneJ2's LocalThickness "clean" step, as `morphometry.md` gives it;
    the edge of the image, or of what was `scanned`, is no surface.
    """
    out = diameter.copy()
    surface = np.zeros(diameter.shape, dtype=np.bool_)
    if scanned is None:
        _mark_surface(diameter, surface)
    else:  # a voxel that was not scanned is neither background nor interior
        _mark_surface(np.where(scanned, diameter, np.inf).astype(diameter.dtype), surface)
        surface |= ~scanned
    _trim(diameter, surface, out)
    return out


@compiled
def _mark_surface(diameter: Real, surface: NDArray[np.bool_]) -> None:
    nz, ny, nx = diameter.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if diameter[z, y, x] > 0:
                    near = diameter[
                        max(z - 1, 0) : min(z + 2, nz),
                        max(y - 1, 0) : min(y + 2, ny),
                        max(x - 1, 0) : min(x + 2, nx),
                    ]
                    surface[z, y, x] = near.min() == 0


@compiled
def _trim(diameter: Real, surface: NDArray[np.bool_], out: Real) -> None:
    nz, ny, nx = diameter.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if not surface[z, y, x]:
                    continue
                total, count = 0.0, 0
                for k in range(max(z - 1, 0), min(z + 2, nz)):
                    for j in range(max(y - 1, 0), min(y + 2, ny)):
                        for i in range(max(x - 1, 0), min(x + 2, nx)):
                            if diameter[k, j, i] > 0 and not surface[k, j, i]:
                                total += diameter[k, j, i]
                                count += 1
                if count > 0:
                    out[z, y, x] = total / count


def squared_radii(
    phase: NDArray[np.bool_], steps: Spacing, scanned: NDArray[np.bool_] | None, *, beyond: bool, threads: int
) -> tuple[NDArray[np.int32] | NDArray[np.float64], float]:
    """Return the largest squared radius that covers each voxel, and the mm of its unit;
    inf where there is no wall.
    """
    free = without_wall_beyond(phase, scanned)
    if free.all():
        return np.where(phase if scanned is None else phase & scanned, np.inf, 0.0), 1.0
    if is_isotropic(steps):
        voxels = squared_distance_voxels(free)
        if scanned is not None:
            np.copyto(voxels, 0, where=~scanned)
        paint_voxels(voxels, beyond=beyond, threads=threads)
        return voxels, cube_edge(steps)
    squared = squared_distance_mm(free, steps)
    if scanned is not None:
        np.copyto(squared, 0, where=~scanned)
    paint_mm(squared, steps, beyond=beyond, threads=threads)
    return squared, 1.0


def without_wall_beyond(phase: NDArray[np.bool_], scanned: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return the phase from whose complement distances are taken: what was not scanned is no wall."""
    return phase if scanned is None else phase | ~scanned


def is_isotropic(steps: Spacing) -> bool:
    """Return whether the voxel is a cube, to a part in 10⁵: headers hold rounded numbers.

    Were it none, distances that are equal in the lattice would be no ties, and thickness 1 % less.
    """
    return max(steps) - min(steps) <= 1e-5 * max(steps)


def cube_edge(steps: Spacing) -> float:
    """Return the edge of a voxel that is a cube: the middle one, whichever way the volume is turned."""
    return sorted(steps)[1]


def _diameter(squared: NDArray[np.int32] | NDArray[np.float64], factor: float, dtype: DTypeLike) -> Map:
    """Return ``factor·√squared``; whole squares are looked up, others taken plane by plane,
    so that no second float64 volume is made.
    """
    out: Map = np.empty(squared.shape, dtype=dtype)
    whole = squared.dtype == np.int32 and int(squared.max()) < squared.size
    roots = factor * np.sqrt(np.arange(int(squared.max()) + 1 if whole else 0), dtype=np.float64)
    table = roots.astype(dtype)
    for plane, source in zip(out, squared, strict=True):
        if whole:
            np.take(table, source, out=plane, mode="clip")
        else:
            plane[...] = factor * np.sqrt(source, dtype=np.float64)
    return out
