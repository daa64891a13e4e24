"""Simulated trabecular bone beside real human bone: one table and one figure.

Run: ``python benchmarks/trabeculae.py IMAGES FIGURE.png ROWS [--knees 8] [--seed 2027]``. IMAGES holds a
microCT of a tibia (`trabecular_tibia_microct.nii.gz`, 19.5 µm) and three binary vertebrae
(`trabecular_vertebra_binary_*.nrrd`, spacing unknown, so that lengths are compared as parts of P = Tb.Th +
Tb.Sp), and a table of 25 donors' distal tibiae (`tables/fractib_distal_tibia_microct_morphometry.csv`).
Simulated are the four weight-bearing regions of knees of profile `paper`, a cube of 5 mm under each joint
surface, smoothed and thresholded as the real ones were, by the same measures; each is compared with the
real cubes at its own BV/TV (a line through the real values, and the spread round it).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.bones import BONES
from srrd_ray.core.geometry import Geometry, transform_points
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.morphometry import measure
from srrd_ray.simulation.cohort import pose_knee
from srrd_ray.simulation.compose import compose
from srrd_ray.simulation.frozen import constants_sha256
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.simulation.scene import Extent
from srrd_ray.simulation.truth import weight_bearing_center

mpl.use("Agg")
from matplotlib import pyplot as plt

Mask = NDArray[np.bool_]
AROUND = Extent(low=(-36.0, -10.0, -22.0), high=(36.0, 10.0, 22.0))
TIBIA_MM, TIBIA_THRESHOLD = 0.0195, 75.9
"""Voxel of the microCT, and Otsu's threshold after a Gaussian of one voxel."""
CUBE_MM, VOXEL_MM = 5.0, 0.04
SCANNER_VOXELS = 1.0
"""Real bone was seen by a scanner and smoothed before its threshold: so are the simulated cubes."""
SHOWN_MM, VERTEBRA_PERIOD_MM = 3.5, 0.9
"""Width of what the figure shows, and the period that vertebrae are given in it."""
LOOKS = (
    {"marker": "o", "ls": "", "ms": 4, "color": "0.45"},
    {"marker": "+", "ls": "", "ms": 6, "color": "C3"},
    {"marker": "v", "ls": "", "ms": 3, "color": "C0"},
)
"""Marks of real cubes, simulated cubes and donors."""
LINES = 3000
"""Random lines through a cube, along which chords are measured."""
MEASURES = {
    "Tb.Th / P": "th",
    "SD / mean of Tb.Th": "th_cv",
    "SD / mean of Tb.Sp": "sp_cv",
    "SMI": "smi",
    "Conn.D · P³": "conn",
    "DA": "da",
    "mean bone chord / P": "bone_chord",
    "SD / mean of bone chords": "bone_chord_cv",
    "mean marrow chord / P": "marrow_chord",
    "SD / mean of marrow chords": "marrow_chord_cv",
}


def real_cubes(folder: Path) -> Iterator[tuple[str, Mask, float]]:
    """Yield name, bone and voxel of three cubes of the tibia (3.5 mm, at 39 µm) and 24 of vertebrae."""
    grey = _read(folder / "trabecular_tibia_microct.nii.gz").astype(np.float32)
    inside = ndimage.gaussian_filter(grey, 1)[_middle(grey.shape, (494, 180, 180))]
    halves = inside.reshape(247, 2, 90, 2, 90, 2).mean(axis=(1, 3, 5)) > TIBIA_THRESHOLD
    for number, first in enumerate((0, 78, 157)):
        yield f"tibia {number}", halves[first : first + 90], 2 * TIBIA_MM
    for path in sorted(folder.glob("trabecular_vertebra_binary_*.nrrd")):
        bone = _read(path) > 0
        for number in range(8):
            corner = [150 * (number >> axis & 1) for axis in range(3)]
            yield f"{path.stem[-1]} vertebra {number}", bone[tuple(slice(c, c + 150) for c in corner)], 1.0


def _read(path: Path) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = sitk.GetArrayFromImage(sitk.ReadImage(path))
    return values


def _middle(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, size, strict=True))


def simulated_cubes(knees: int, seed: int) -> Iterator[tuple[str, Mask, float]]:
    """Yield the cubes under the four weight-bearing surfaces of each knee."""
    n = round(CUBE_MM / VOXEL_MM)
    for plan in simulate_cohort_plan(knees, seed, "paper"):
        knee = pose_knee(plan, AROUND)
        session = knee.sessions["ct"]
        for number, bone in enumerate(BONES):
            for side, compartment in enumerate(COMPARTMENTS):
                center = weight_bearing_center(knee.scene, knee.anatomy, number, side)
                first = transform_points(session.world_from_bone[number], center) - (n - 1) / 2 * VOXEL_MM
                grid = Geometry.axis_aligned((n, n, n), (VOXEL_MM,) * 3, first)
                mineral, _ = compose(
                    knee.scene, session.bone_from_world() @ grid.affine, (n, n, n), sharp=True
                )
                scanned = ndimage.gaussian_filter(mineral, SCANNER_VOXELS) >= 0.5
                yield f"{plan.knee.key} {bone} {compartment}", scanned, VOXEL_MM


def chords(bone: Mask, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lengths of chords in bone and in marrow on random lines, voxels; those cut by a face are left out."""
    size, step = np.array(bone.shape), 0.5
    along = np.arange(-0.9 * size.max(), 0.9 * size.max(), step)
    found: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for _ in range(LINES):
        direction = rng.standard_normal(3)
        points = rng.uniform(0, 1, 3) * size + along[:, None] * direction / np.linalg.norm(direction)
        cells = np.floor(points[((points >= 0) & (points < size)).all(axis=1)]).astype(np.intp)
        values = bone[cells[:, 0], cells[:, 1], cells[:, 2]]
        ends = np.flatnonzero(values[1:] != values[:-1])
        lengths, solid = np.diff(ends) * step, values[ends[:-1] + 1]
        found[0].append(lengths[solid])
        found[1].append(lengths[~solid])
    return np.concatenate(found[0]), np.concatenate(found[1])


def measures_of(bone: Mask, voxel_mm: float) -> dict[str, float]:
    """Return the measures of a cube; lengths in units of P."""
    all_of_it = measure(bone, np.ones_like(bone), voxel_mm)
    th, sp = float(all_of_it.tb_th_mm or 0), float(all_of_it.tb_sp_mm or 0)
    solid, hollow = chords(bone, np.random.default_rng(0))
    return {
        "bvtv": float(all_of_it.bvtv or 0),
        "period": th + sp,
        "th": th / (th + sp),
        "th_cv": float(all_of_it.tb_th_sd_mm or 0) / th,
        "sp_cv": float(all_of_it.tb_sp_sd_mm or 0) / sp,
        "smi": float(all_of_it.smi or 0),
        "conn": float(all_of_it.conn_d_per_mm3 or 0) * (th + sp) ** 3,
        "da": float(all_of_it.da or 0),
        "bone_chord": float(solid.mean() * voxel_mm / (th + sp)),
        "bone_chord_cv": float(solid.std() / solid.mean()),
        "marrow_chord": float(hollow.mean() * voxel_mm / (th + sp)),
        "marrow_chord_cv": float(hollow.std() / hollow.mean()),
    }


def table_of(cubes: Iterator[tuple[str, Mask, float]], rows: Path, kept: dict[str, Mask]) -> pd.DataFrame:
    """Return one row of measures a cube, those in the file `rows` read from it; `kept` receives the cubes."""
    known = pd.read_csv(rows).set_index("name").to_dict("index") if rows.is_file() else {}
    found: dict[str, dict[str, float]] = {}
    for name, bone, voxel_mm in cubes:
        kept[name] = bone
        found[name] = known[name] if name in known else measures_of(bone, voxel_mm)
        print(name, file=sys.stderr)
        pd.DataFrame.from_dict(found, "index").rename_axis("name").to_csv(rows)
    return pd.read_csv(rows)


def standardized(real: pd.DataFrame, simulated: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return how many SD of the real cubes each simulated one lies off the real line against BV/TV."""
    line = np.polyfit(real["bvtv"], real[column], 1)
    spread = (real[column] - np.polyval(line, real["bvtv"])).std(ddof=2)
    off: NDArray[np.float64] = ((simulated[column] - np.polyval(line, simulated["bvtv"])) / spread).to_numpy()
    return off


def donors(folder: Path) -> pd.DataFrame:
    """Return the same measures, those that it has, of the table of donors."""
    raw = pd.read_csv(folder / "tables" / "fractib_distal_tibia_microct_morphometry.csv")
    period = raw["DT-Tb.Th"] + raw["DT-Tb.Sp"]
    return pd.DataFrame(
        {
            "bvtv": raw["VOX-BV/TV"],
            "th": raw["DT-Tb.Th"] / period,
            "th_cv": raw["DT-Tb.Th.SD"] / raw["DT-Tb.Th"],
            "sp_cv": raw["DT-Tb.Sp.SD"] / raw["DT-Tb.Sp"],
            "smi": raw["TRI-SMI"],
            "conn": raw["Conn-Dens."] * period**3,
        }
    )


def report(real: pd.DataFrame, simulated: pd.DataFrame, others: pd.DataFrame) -> str:
    """Return the table: ranges, and where the simulated cubes whose BV/TV real ones have lie among the real."""
    same = simulated[simulated["bvtv"].between(real["bvtv"].min(), real["bvtv"].max())]
    lines = [
        f"{len(real)} real cubes, {len(simulated)} simulated, {len(same)} of them at BV/TV of real ones",
        "| measure | real: median (5-95 %) | simulated | donors | off the real line, SD: median (5-95 %) |"
        " within 2 SD |",
        "|---|---|---|---|---|---|",
    ]
    for name, column in ({"BV/TV": "bvtv"} | MEASURES).items():
        donor = _range(others[column]) if column in others else ""
        row = f"| {name} | {_range(real[column])} | {_range(same[column])} | {donor} |"
        if column != "bvtv":
            off = standardized(real, same, column)
            row += f" {_range(pd.Series(off))} | {np.mean(np.abs(off) < 2):.0%} |"
        lines.append(row)
    return "\n".join(lines)


def _range(values: pd.Series[float]) -> str:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _shown_voxel_mm(name: str, period: float) -> float:
    """Return the voxel of a cube: that of a vertebra from `VERTEBRA_PERIOD_MM`."""
    if "vertebra" in name:
        return VERTEBRA_PERIOD_MM / period
    return 2 * TIBIA_MM if "tibia " in name and "sub" not in name else VOXEL_MM


def shaded(bone: Mask) -> NDArray[np.float64]:
    """Return the surface seen along the second axis, the nearer the brighter."""
    depth = np.where(bone.any(axis=1), bone.argmax(axis=1), bone.shape[1]).astype(np.float64)
    down, right = np.gradient(ndimage.gaussian_filter(depth, 0.7))
    light: NDArray[np.float64] = (1 - 0.85 * depth / bone.shape[1]) / np.sqrt(1 + down**2 + right**2)
    return light


def draw(path: Path, cubes: dict[str, Mask], tables: dict[str, pd.DataFrame]) -> None:
    """Write the figure: real and simulated cubes at one scale, and every measure against BV/TV."""
    real, simulated = tables["real"], tables["simulated"]
    figure, axes = plt.subplots(5, 6, figsize=(15, 12.5), height_ratios=(1, 1, 1, 0.9, 0.9))
    about = pd.concat([real, simulated]).set_index("name")
    for column, (name, bone) in enumerate(cubes.items()):
        side = min(round(SHOWN_MM / _shown_voxel_mm(name, about["period"][name])), *bone.shape)
        part = bone[_middle(bone.shape, (side,) * 3)]
        views = (part[:, side // 2][::-1], part[side // 2], shaded(part)[::-1])
        for row, view in enumerate(views):
            axes[row, column].imshow(view, cmap="gray", interpolation="nearest")
            axes[row, column].set_axis_off()
        axes[0, column].set_title(
            ("simulated " if name in set(simulated["name"]) else "real ") + name, fontsize=7
        )
    for axis, (label, column_name) in zip(axes[3:].ravel(), MEASURES.items(), strict=False):
        for (source, table), look in zip(tables.items(), LOOKS, strict=True):
            if column_name in table:
                axis.plot(table["bvtv"], table[column_name], **look, label=source)
        axis.set_title(label, fontsize=8)
        axis.set_xlabel("BV/TV", fontsize=7)
        axis.tick_params(labelsize=7)
    for axis in axes[3:].ravel()[len(MEASURES) :]:
        axis.set_axis_off()
    axes[3, 0].legend(fontsize=7)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("figure", type=Path)
    parser.add_argument("rows", type=Path, help="folder that keeps the measures of every cube")
    parser.add_argument("--knees", type=int, default=8)
    parser.add_argument("--seed", type=int, default=2027)
    given = parser.parse_args()
    kept: dict[str, Mask] = {}
    given.rows.mkdir(parents=True, exist_ok=True)
    real = table_of(real_cubes(given.images), given.rows / "real.csv", kept)
    simulated = table_of(
        simulated_cubes(given.knees, given.seed), given.rows / f"simulated-{constants_sha256()[:8]}.csv", kept
    )
    others = donors(given.images)
    print(report(real, simulated, others))
    middle = simulated.iloc[(simulated["bvtv"] - real["bvtv"].median()).abs().argsort()]["name"].tolist()
    shown = [real["name"][1], real["name"][5], real["name"][16], *middle[:3]]
    tables = {"real": real, "simulated": simulated, "donors": others}
    draw(given.figure, {name: kept[name] for name in shown}, tables)


if __name__ == "__main__":
    main()
