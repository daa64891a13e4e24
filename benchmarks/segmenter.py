"""The segmenter against the rules, on knees that neither saw: simulated CT and MR of other seeds, a real CT against
its cryosections, and pictures of real scans with the contours.

Run: ``OMP_NUM_THREADS=1 python benchmarks/segmenter.py [--knees 4] [--profile paper] [--real FOLDER] [--out FOLDER]``

 - simulated: knees of seed 31337 as the simulator's scanners give them, CT and MR of each sequence in turn, not the
   contrasts that the network learnt from. Dice, mean surface distance (mm, symmetric), holes, findings, CPU s. The
   rules read CT alone.
 - real: the CT of the Visible Human Female; her tibia from cryosections (Andreassen et al. 2022, CC BY 4.0) in a
   frame of its own, registered rigidly to what was found.
 - pictures: every real image of the folder, slices with contours; to be looked at.
 - ``--sides 40``: the cues of `segmentation/side.py` on simulated label maps, and how often each is right.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from functools import partial
from itertools import permutations, product
from pathlib import Path
from typing import get_args

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation
from torch import nn

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Modality, Side
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image
from srrd_ray.knee_bones.segmenter_model import SHIPPED, load_segmenter
from srrd_ray.registration.bones import segment_ct_bones
from srrd_ray.segmentation.classes import BONES, CLASSES, TIBIA
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.inference import segment
from srrd_ray.segmentation.plausibility import Checked, check_bones
from srrd_ray.segmentation.side import find_side
from srrd_ray.segmentation.simulated_classes import class_of_label
from srrd_ray.simulation import ct, mr
from srrd_ray.simulation.cohort import (
    VIEWS,
    bone_labels,
    image_grids,
    pose_knee,
    sample_acquisition,
)
from srrd_ray.simulation.meshes import Mesh, signed_depth
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.stages.shared.label_maps import make_label_map

mpl.use("Agg")
from matplotlib import pyplot as plt

Labels = Volume[np.uint8]
Mask = NDArray[np.bool_]
REACH_MM = 25.0
COLOURS = ("#56B4E9", "#ffb000", "#009E73", "#CC79A7", "#F0E442")
REAL: dict[str, tuple[Modality, Side]] = {
    "knee_ct_1mm.nii.gz": ("ct", "R"),
    "knee_mr_dess.nii.gz": ("mr", "R"),
    "knee_mr_mese.nii.gz": ("mr", "R"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--knees", type=int, default=4, help="simulated knees")
    parser.add_argument("--seed", type=int, default=31337, help="not the training's")
    parser.add_argument("--real", type=Path, help="folder of the real images")
    parser.add_argument("--out", type=Path, default=Path("segmenter-pictures"))
    parser.add_argument("--sides", type=int, default=0, help="label maps whose cues of the side are shown")
    parser.add_argument(
        "--profile", choices=["quick", "joint", "paper"], default="paper", help="of the simulated knees"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.sides:
        show_sides(arguments.sides, arguments.seed)
    network, config = load_segmenter(arguments.model)
    find = partial(timed, network, config)
    plans = simulate_cohort_plan(max(arguments.knees, 2), arguments.seed, arguments.profile)
    for plan in plans[: arguments.knees]:
        show_simulated(plan, find)
    if arguments.real:
        for name, (kind, side) in REAL.items():
            show_real(arguments.real, name, kind, side, find, arguments.out)


def timed(network: nn.Module, config: SegmenterConfig, image: Volume[np.generic], kind: Modality) -> Labels:
    started = time.process_time()
    labels = segment(network, image, kind, config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"  {kind} {image.array.shape}: {time.process_time() - started:.1f} CPU s, peak of the process {peak:.2f} GB"
    )
    return labels


def show_simulated(plan: SimulatedKnee, find: partial[Labels]) -> None:
    """Print how well the bones of one simulated knee are found in its CT and in its MR."""
    view, sequences = VIEWS[plan.profile], get_args(mr.Sequence)
    sequence = sequences[int(plan.knee.participant) % len(sequences)]
    knee, scans = pose_knee(plan, view.extent), sample_acquisition(plan, sequence)
    grids = image_grids(plan, view, knee.sessions, scans)
    pose = {m: s.bone_from_world() for m, s in knee.sessions.items()}
    images: dict[Modality, Volume[np.generic]] = {
        "ct": ct.acquire(knee.scene, pose["ct"], grids["ct"], scans.ct_protocol, scans.ct_session),
        "mr": mr.acquire(knee.scene, pose["mr"], grids["mr"], scans.mr_protocol, scans.mr_session),
    }
    for kind, image in images.items():
        truth = bone_labels(knee.scene, pose[kind], grids[kind])
        found = find(image, kind)
        title = f"{plan.knee.key} KL {plan.kl_grade} {kind if kind == 'ct' else sequence}"
        compare(title, check_bones(found, image), truth, plan.knee.side)
        if kind == "ct":
            try:
                compare(f"{title}, rules", check_bones(by_rules(image, plan.knee.side), image), truth, None)
            except InputError as error:
                print(f"{title}, rules: {error.code}", flush=True)


def by_rules(image: Volume[np.generic], side: Side) -> Labels:
    started = time.process_time()
    labels = segment_ct_bones(image, side)
    print(f"  rules: {time.process_time() - started:.1f} CPU s")
    return labels


def compare(title: str, checked: Checked, truth: Labels, side: Side | None) -> None:
    """Print Dice and surface distance of each bone, holes, findings and side."""
    words = []
    for number, name in enumerate(BONES, start=1):
        a, b = checked.labels.array == number, truth.array == number
        if b.any():
            words.append(f"{name} {dice(a, b):.4f} {surface_mm(a, b, truth.geometry.spacing_mm):.2f} mm")
    print(f"{title}: {', '.join(words)}; holes {checked.holes_cm3:.2f} cm3, specks {checked.specks_cm3:.2f}")
    for finding in checked.findings:
        print(f"    {'doubt' if finding.doubt else 'refused'}: {finding}")
    if side is not None:
        print(f"    {side_words(checked.labels, side)}", flush=True)


def side_words(labels: Labels, side: Side) -> str:
    shown = find_side(labels)
    cues = ", ".join(f"{name} {value:+.3f}" for name, value in shown.cues.items())
    return f"side {shown.side} ({'right' if shown.side == side else 'WRONG'}) {shown.confidence:.4f}: {cues}"


def dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def surface_mm(a: Mask, b: Mask, spacing: tuple[float, float, float]) -> float:
    """Return the mean of the distances of either surface from the other; what the field of view cuts is no
    surface.
    """
    boxes = ndimage.find_objects((a | b).astype(np.uint8))
    if not (a.any() and b.any()):
        return float("nan")
    box = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in boxes[0])
    edges = [mask[box] & ~ndimage.binary_erosion(mask[box], border_value=1) for mask in (a, b)]
    away = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return float((away[1][edges[0]].sum() + away[0][edges[1]].sum()) / (edges[0].sum() + edges[1].sum()))


def show_real(folder: Path, name: str, kind: Modality, side: Side, find: partial[Labels], out: Path) -> None:
    if not (folder / name).is_file():
        print(f"{name}: not there")
        return
    image = read_image(folder / name).volume
    checked = check_bones(find(image, kind), image)
    cm3 = checked.labels.geometry.voxel_mm3 / 1000
    sizes = ", ".join(
        f"{c} {(checked.labels.array == n).sum() * cm3:.1f}" for n, c in enumerate(CLASSES) if n
    )
    print(f"{name}: cm3 {sizes}; specks {checked.specks_cm3:.2f}, holes {checked.holes_cm3:.2f}")
    for finding in checked.findings:
        print(f"    {'doubt' if finding.doubt else 'refused'}: {finding}")
    print(f"    {side_words(checked.labels, side)}")
    draw(image, checked.labels, out / f"{name.split('.')[0]}.png")
    mesh = folder / "anatomy" / "vhf_right_bone_tibia.ply"
    if kind == "ct" and mesh.is_file():
        against_cryosections("network", checked.labels, read_ply(mesh))
        rules = check_bones(by_rules(image, side), image)
        against_cryosections("rules", rules.labels, read_ply(mesh))
        for finding in rules.findings:
            print(f"    rules: {finding}; holes {rules.holes_cm3:.2f} cm3")
        draw(image, rules.labels, out / f"{name.split('.')[0]}-rules.png")


def draw(image: Volume[np.generic], labels: Labels, path: Path, most: int = 24) -> None:
    """Write slices of an image across its thickest axis, or sagittal ones, with the contour of each class."""
    spacing = image.geometry.lps_order().spacing_mm
    across = int(np.argmax(spacing)) if max(spacing) > 1.2 * min(spacing) else 2
    planes, marks = (np.moveaxis(v.in_lps_order(), across, 0) for v in (image, labels))
    rows, columns = (s for axis, s in enumerate(spacing) if axis != across)
    used = np.flatnonzero((marks > 0).any(axis=(1, 2)))
    picks = np.unique(np.linspace(used[0], used[-1], most).round().astype(int)) if used.size else [0]
    low, high = (-150, 900) if float(planes.min()) < -500 else np.percentile(planes, [1, 99.5])
    figure, panels = plt.subplots(4, 6, figsize=(24, 17), facecolor="black")
    for panel, pick in zip(panels.ravel(), picks, strict=False):
        panel.imshow(planes[pick], cmap="gray", vmin=low, vmax=high, origin="lower", aspect=rows / columns)
        for number in range(1, len(CLASSES)):
            if (marks[pick] == number).any():
                panel.contour(marks[pick] == number, [0.5], colors=COLOURS[number - 1], linewidths=0.8)
        panel.set_title(str(pick), color="white")
    for panel in panels.ravel():
        panel.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    plt.close(figure)
    print(f"    {path}")


def read_ply(path: Path) -> Mesh:
    """Return a triangle mesh of a binary little-endian PLY with x, y, z alone."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    counts = {
        line.split()[1]: int(line.split()[2])
        for line in head.decode().splitlines()
        if line.startswith("element")
    }
    vertices = np.frombuffer(body, "<f4", 3 * counts["vertex"]).reshape(-1, 3)
    kind = np.dtype([("n", "u1"), ("v", "<i4", 3)])
    faces = np.frombuffer(body, kind, counts["face"], vertices.nbytes)["v"]
    mesh = Mesh(vertices.astype(np.float64), faces.astype(np.int32))
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    outwards = float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) > 0
    return mesh if outwards else Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))


def against_cryosections(who: str, labels: Labels, mesh: Mesh) -> None:
    """Print how well the tibia agrees with that of the cryosections after a rigid registration of it."""
    step, low = 1.0, mesh.vertices.min(axis=0) - REACH_MM
    x, y, z = (int(n) for n in np.ceil((mesh.vertices.max(axis=0) + REACH_MM - low) / step))
    depth = signed_depth(mesh, low, step, (z, y, x), REACH_MM).depth
    surface = surface_points(labels)
    pose = min(
        (fit(surface, depth, low, step, start) for start in starts(surface, mesh)), key=lambda p: p[1]
    )[0]
    grid = labels.geometry
    everywhere = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    truth = depth_at(depth, low, step, moved(pose, everywhere.reshape(-1, 3))).reshape(grid.shape) > 0
    found = labels.array == TIBIA
    away = np.abs(depth_at(depth, low, step, moved(pose, surface)))
    print(
        f"    {who}, tibia against cryosections: Dice {dice(found, truth):.4f}, mean distance "
        f"{surface_mm(found, truth, grid.spacing_mm):.2f} mm; of found from cryosections: mean {away.mean():.2f}, "
        f"p95 {np.percentile(away, 95):.2f} mm"
    )


def surface_points(labels: Labels) -> NDArray[np.float64]:
    """Return points half way between voxels in and out of the tibia, LPS mm; not on the edge of the image."""
    mask = labels.array == TIBIA
    points = []
    for axis in range(3):
        where = np.argwhere(np.diff(mask.astype(np.int8), axis=axis)).astype(np.float64)
        where[:, axis] += 0.5
        points.append(where)
    every = np.concatenate(points)
    return labels.geometry.index_to_lps(every[:: max(len(every) // 6000, 1)])


Pose = NDArray[np.float64]


def moved(pose: Pose, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return Rotation.from_rotvec(pose[:3]).apply(points) + pose[3:]


def starts(surface: NDArray[np.float64], mesh: Mesh) -> Iterator[Pose]:
    """Yield the 24 poses along the axes that bring the middle of the found surface to that of either end of
    the mesh.
    """
    span = float(np.ptp(surface[:, 2]))
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        turn = np.zeros((3, 3))
        turn[range(3), order] = signs
        if np.linalg.det(turn) < 0:
            continue
        up = turn @ np.array([0, 0, 1.0])
        height = mesh.vertices @ up
        end = mesh.vertices[height > height.max() - span]
        shift = end.mean(axis=0) - turn @ surface.mean(axis=0)
        yield np.concatenate([Rotation.from_matrix(turn).as_rotvec(), shift])


def depth_at(
    depth: NDArray[np.float32], low: NDArray[np.float64], step: float, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    index = ((points - low) / step).T[::-1]
    return np.asarray(ndimage.map_coordinates(depth, index, order=1, mode="nearest"), np.float64)


def fit(
    surface: NDArray[np.float64],
    depth: NDArray[np.float32],
    low: NDArray[np.float64],
    step: float,
    start: Pose,
) -> tuple[Pose, float]:
    """Return the pose nearby with the least distances of the found surface from the mesh, and their mean."""
    few = surface[:: max(len(surface) // 800, 1)]
    rough = optimize.least_squares(
        lambda p: depth_at(depth, low, step, moved(p, few)),
        start,
        loss="soft_l1",
        f_scale=1.0,
        x_scale=[0.02] * 3 + [1] * 3,
        max_nfev=60,
    )
    if rough.cost > 8.0 * len(few):
        return rough.x, float("inf")
    fine = optimize.least_squares(
        lambda p: depth_at(depth, low, step, moved(p, surface)),
        rough.x,
        loss="cauchy",
        f_scale=0.5,
        x_scale=[0.02] * 3 + [1] * 3,
    )
    return fine.x, float(fine.cost)


def show_sides(count: int, seed: int) -> None:
    """Print the cues of simulated label maps, positive where they are right, and how often each is."""
    rows = []
    for number, plan in enumerate(simulate_cohort_plan(max(count, 2), seed, "paper")[:count]):
        classes = class_of_label()[make_label_map(plan, "ct" if number % 2 else "mr", 2.0)]
        grid = Geometry.axis_aligned(classes.shape, (2.0,) * 3)
        cues = find_side(Volume(array=classes, geometry=grid)).cues
        sign = 1 if plan.knee.side == "L" else -1
        rows.append([sign * cues.get(name, np.nan) for name in ("fibula", "patella", "plateau")])
    table = np.array(rows)
    for name, column in zip(("fibula", "patella", "plateau"), table.T, strict=True):
        print(
            f"{name}: {np.nanmean(column):+.3f} ± {np.nanstd(column):.3f}, right {np.nanmean(column > 0):.1%}"
        )


if __name__ == "__main__":
    main()
