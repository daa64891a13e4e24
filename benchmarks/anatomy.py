"""Simulated anatomy beside people's: sizes and their correlations, cartilage, joint spaces by grade, cortex
by place and HU under the surface, as the tables of `docs/cohort-v2.md`.

Run: ``OMP_NUM_THREADS=1 python benchmarks/anatomy.py [--knees 60] [--ct 4]``; seed 2026.

Measured values (people: mean and SD):
 - sizes, cartilage, gaps: 44 people of the OAI over the whole spectrum of osteoarthritis, whole-knee
   segmentations of MR (AKOA and ZIB sets), measured by us; 26 adults of the shape model (GIAS3, CT);
 - HU: one clinical knee CT (GE LightSpeed VCT, 120 kV, BONEPLUS, 0.625 mm), by depth under the outer contour;
 - cortex: Visible Human Female, CT of 1 mm; method notes C1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from srrd_ray.core.geometry import Geometry, transform_points
from srrd_ray.simulation import ct
from srrd_ray.simulation.anatomy import Anatomy, sample_anatomy
from srrd_ray.simulation.bones import FEMUR, PATELLA, TIBIA, Bone, build_bones
from srrd_ray.simulation.cohort import View, bone_labels, pose_knee
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan

Rows = NDArray[np.float64]
SIZES = ("femur ML", "femur AP", "tibia ML", "tibia AP", "patella ML", "patella AP", "patella SI")
CARTILAGES = ("cartilage of femur", "of tibia", "of patella")
OAI_MEAN = (83.2, 66.6, 77.3, 53.6, 44.9, 23.7, 43.7, 2.03, 1.95, 2.28)
OAI_SD = (6.4, 4.9, 6.0, 4.1, 5.0, 2.3, 5.0, 0.25, 0.24, 0.36)
LLP_MEAN = (80.2, 65.1, 74.0, 61.7, 39.3, 23.6, 41.5)
LLP_SD = (4.7, 3.4, 5.6, 5.5, 3.7, 2.2, 3.3)
OAI_CORRELATION = {
    ("femur ML", "femur AP"): 0.87,
    ("femur ML", "tibia ML"): 0.92,
    ("femur ML", "tibia AP"): 0.82,
    ("femur ML", "patella ML"): 0.83,
    ("femur ML", "patella SI"): 0.77,
    ("patella ML", "patella SI"): 0.87,
    ("femur ML", "cartilage of femur"): 0.55,
    ("cartilage of femur", "of tibia"): 0.83,
    ("cartilage of femur", "of patella"): 0.48,
}
OAI_GAPS = ((2.90, 0.81), (3.16, 0.99))
"""Least gap on either side of the joint, mm, all grades together."""
HU = {
    "femur": {"peak": (663, 685), "5-9 mm": (223, 273), "14-17 mm": (117, 210)},
    "patella": {"peak": (987, 1103), "5-7 mm": (261, 385), "7-8.5 mm": (243, 306)},
}
"""Means of both bones of each kind in one person."""
CONTOUR_HU = 200.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--knees", type=int, default=60)
    parser.add_argument("--ct", type=int, default=4, help="knees of grade 0 and 1 whose CT is made")
    given = parser.parse_args()
    plans = simulate_cohort_plan(given.knees, 2026, "paper")
    knees = [(plan, sample_anatomy(plan)) for plan in plans]
    built = [(plan, a, build_bones(plan, a)) for plan, a in knees]
    table = np.array([_sizes(bones) + _thickness(bones) for _, _, bones in built])
    _print_sizes(table)
    _print_correlations(table)
    _print_gaps(built)
    _print_cortex([bones for _, _, bones in built], [a.size for _, a, _ in built])
    _print_hu([plan for plan in plans if plan.kl_grade < 2][: given.ct])


def _sizes(bones: Sequence[Bone]) -> list[float]:
    femur, tibia, patella = (np.ptp(bones[n].mesh.vertices, axis=0) for n in (FEMUR, TIBIA, PATELLA))
    return [*femur[:2], *tibia[:2], *patella]


def _thickness(bones: Sequence[Bone]) -> list[float]:
    return [float(bones[n].cartilage[bones[n].articular > 0.5].mean()) for n in (FEMUR, TIBIA, PATELLA)]


def _print_sizes(table: Rows) -> None:
    print("| mm | simulated | OAI, 44 people | shape model, 26 |\n|---|---|---|---|")
    for n, name in enumerate((*SIZES, *CARTILAGES)):
        digits = 1 if n < len(SIZES) else 2
        own = f"{table[:, n].mean():.{digits}f} ± {table[:, n].std(ddof=1):.{digits}f}"
        model = f"{LLP_MEAN[n]} ± {LLP_SD[n]}" if n < len(SIZES) else ""
        print(f"| {name} | {own} | {OAI_MEAN[n]} ± {OAI_SD[n]} | {model} |")


def _print_correlations(table: Rows) -> None:
    names = (*SIZES, *CARTILAGES)
    print("\n| correlation of | with | simulated | OAI |\n|---|---|---|---|")
    found = np.corrcoef(table.T)
    for (one, other), real in OAI_CORRELATION.items():
        print(f"| {one} | {other} | {found[names.index(one), names.index(other)]:.2f} | {real:.2f} |")


def _print_gaps(built: Sequence[tuple[SimulatedKnee, Anatomy, tuple[Bone, ...]]]) -> None:
    gaps = np.array([_gaps(bones) for _, _, bones in built])
    worn = np.array([1 if plan.valgus else 0 for plan, _, _ in built])
    grade = np.array([plan.kl_grade for plan, _, _ in built])
    print("\n| grade | knees | least gap, worn side | other side |\n|---|---|---|---|")
    rows = np.arange(len(gaps))
    pair = gaps[rows, worn], gaps[rows, 1 - worn]
    for value in range(5):
        of = grade == value
        if of.any():
            print(f"| {value} | {of.sum()} | {pair[0][of].mean():.1f} | {pair[1][of].mean():.1f} |")
    both = " and ".join(f"{v.mean():.2f} ± {v.std(ddof=1):.2f}" for v in gaps.T)
    people = " and ".join(f"{mean:.2f} ± {spread:.2f}" for mean, spread in OAI_GAPS)
    print(f"\nAll: {both} (medial, lateral); OAI: {people}.")


def _gaps(bones: Sequence[Bone]) -> tuple[float, float]:
    tibia = bones[TIBIA].mesh.vertices
    gap, _ = cKDTree(bones[FEMUR].mesh.vertices).query(tibia)
    plateau = bones[TIBIA].articular > 0.5
    return float(gap[plateau & (tibia[:, 0] > 6)].min()), float(gap[plateau & (tibia[:, 0] < -6)].min())


def _print_cortex(knees: Sequence[Sequence[Bone]], sizes: Sequence[float]) -> None:
    print("\n| compact bone, mm | simulated | expected |\n|---|---|---|")
    places = {
        "femur, 25-35 mm over the joint": (FEMUR, 25, 35, "0.3-0.8"),
        "femur, 70-80 mm over the joint": (FEMUR, 70, 80, "2-4"),
        "tibia, 20-30 mm under the joint": (TIBIA, -30, -20, "0.3-1"),
        "tibia, 45-55 mm under the joint": (TIBIA, -55, -45, "1.5-4"),
        "tibia, 75-85 mm under the joint": (TIBIA, -85, -75, "3-6"),
    }
    for name, (bone, low, high, expected) in places.items():
        values = []
        for bones, size in zip(knees, sizes, strict=True):
            z = bones[bone].mesh.vertices[:, 2] / size
            of = (z > low) & (z < high) & (bones[bone].articular < 0.2)
            values.append(float(bones[bone].compact[of].mean()))
        print(f"| {name} | {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} | {expected} |")


VCT = ct.CtProtocol(
    slice_mm=0.625,
    pixel_mm=0.611,
    thickness_mm=0.7,
    psf_mm=0.85,
    overshoot=0.15,
    noise_hu=0.0,
    energy_kev=70,
    offset_hu=0.0,
)
"""The scanner of the measured profile, without noise."""


def _print_hu(plans: Sequence[SimulatedKnee]) -> None:
    found = [_profiles(plan) for plan in plans]
    print("\n| HU | simulated | one person |\n|---|---|---|")
    for bone, rows in HU.items():
        for name, (low, high) in rows.items():
            values = [f[bone][name] for f in found if bone in f]
            print(f"| {bone}, {name} | {np.mean(values):.0f} ± {np.std(values, ddof=1):.0f} | {low}-{high} |")


def _profiles(plan: SimulatedKnee) -> dict[str, dict[str, float]]:
    """Return mean HU at the peak and in ranges of depth in axial slices through the patella, by bone."""
    view = View(ct_mm=(120, 120, 80), mr_mm=(90, 90, 80), center_mm=(0, 0, 20), truth_voxel_mm=0.3)
    knee = pose_knee(plan, view.extent)
    session = knee.sessions["ct"]
    pose = session.bone_from_world()
    patella = build_bones(plan, knee.anatomy)[PATELLA].mesh.vertices.mean(axis=0)
    middle = transform_points(session.world_from_bone[PATELLA], patella)
    corner = middle + np.array([-61.0, -25.0, -2.5])
    grid = Geometry.axis_aligned((9, 200, 200), (VCT.slice_mm, VCT.pixel_mm, VCT.pixel_mm), corner)
    hu = ct.acquire_noiseless(knee.scene, pose, grid, VCT, ct.hu_table(VCT, _plain_session()))
    labels = bone_labels(knee.scene, pose, grid).array
    rows = {"femur": 1, "patella": 4}
    return {
        bone: _by_depth(hu, labels == label, bone) for bone, label in rows.items() if (labels == label).any()
    }


def _plain_session() -> ct.CtSession:
    return ct.CtSession(mineral_density=1.0, marrow_hu=ct.MARROW_HU, noise_factor=0.0, seed=0)


def _by_depth(hu: NDArray[np.float32], bone_mask: NDArray[np.bool_], bone: str) -> dict[str, float]:
    """Return mean HU by depth under the outer contour, which is found in the image as a person would, at 200
    HU.
    """
    around = np.stack([ndimage.binary_dilation(m, iterations=2) for m in bone_mask])
    mask = np.stack([ndimage.binary_fill_holes(m) for m in around & (hu > CONTOUR_HU)])
    depth = np.stack([ndimage.distance_transform_edt(m, sampling=VCT.pixel_mm) for m in mask]) - 0.3
    outside = np.stack([ndimage.distance_transform_edt(~m, sampling=VCT.pixel_mm) for m in mask]) - 0.3
    signed = np.where(mask, depth, -outside)
    steps = np.arange(-0.5, 4.0, 0.5)
    bins = [(signed > s) & (signed <= s + 0.5) for s in steps]
    out = {"peak": max(float(hu[of].mean()) for of in bins if of.any())}
    for name in HU[bone]:
        if name != "peak":
            low, high = (float(v) for v in name.removesuffix(" mm").split("-"))
            of = (signed > low) & (signed <= high)
            out[name] = float(hu[of].mean()) if of.any() else float("nan")
    return out


if __name__ == "__main__":
    main()
