"""The gallery of a simulated cohort: its files and its plan in, one page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image
from srrd_ray.report.gallery import Curve, Gallery, Scanner, Shown, render_gallery
from srrd_ray.report.overlays import KneeImages
from srrd_ray.simulation import ct, phantoms
from srrd_ray.simulation.cohort import VIEWS, pose_knee
from srrd_ray.simulation.compose import compose
from srrd_ray.simulation.frozen import COHORT, constants_sha256
from srrd_ray.simulation.measured import measure_mtf, measure_noise_power
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.stages.shared.truth import cells_of, parameters_of, read_poses
from srrd_ray.stages.simulate import knee_paths
from srrd_ray.storage.atomic import write_text

GRADES_SHOWN = (0, 2, 4)
ZOOM_MM, ZOOM_PIXEL_MM = 12.0, 0.05
EDGE = np.array([1.0, 0.05, 0.0])


def write_gallery(root: Path, plans: Sequence[SimulatedKnee]) -> Path:
    """Return the path of ``gallery.html`` under a cohort whose knees have all been simulated."""
    kept = [plan for plan in plans if knee_paths(plan.knee, root)[-1].is_file()]
    found = [next((plan for plan in kept if plan.kl_grade == grade), None) for grade in GRADES_SHOWN]
    gallery = Gallery(
        cohort=COHORT,
        constants_sha256=constants_sha256(),
        knees=pd.DataFrame([_person(plan) for plan in kept]),
        regions=pd.concat([_regions(root, plan) for plan in kept], ignore_index=True),
        shown=[_shown(root, plan) for plan in found if plan is not None],
        scanners=[_scanner(number, protocol) for number, protocol in enumerate(ct.PROTOCOLS)],
    )
    path = root / "gallery.html"
    write_text(path, render_gallery(gallery))
    return path


def _person(plan: SimulatedKnee) -> dict[str, object]:
    return {
        "participant": plan.knee.participant,
        "side": plan.knee.side,
        "kl_grade": plan.kl_grade,
        "oa": plan.oa,
        "age": plan.age,
        "sex": plan.sex,
    }


def _regions(root: Path, plan: SimulatedKnee) -> pd.DataFrame:
    cells = cells_of(root, plan.knee)
    rows = [
        {"kl_grade": plan.kl_grade, "bone": bone, "compartment": compartment}
        | parameters_of(cells[(cells["bone"] == bone) & (cells["compartment"] == compartment)])
        for bone, compartment in product(BONES, COMPARTMENTS)
    ]
    return pd.DataFrame(rows)


def _shown(root: Path, plan: SimulatedKnee) -> Shown:
    ct_path, mr_path, labels_path, *_ = knee_paths(plan.knee, root, dicom=_is_dicom(root, plan))
    labels = read_image(labels_path).volume
    images = KneeImages(
        side=plan.knee.side,
        ct=read_image(ct_path).volume,
        bones=Volume(
            array=np.where(labels.array <= 2, labels.array, 0).astype(np.uint8), geometry=labels.geometry
        ),
        mr=read_image(mr_path).volume,
        poses={bone: pose.matrix for bone, pose in read_poses(root, plan.knee).items()},
    )
    worn = "valgus" if plan.valgus else "varus"
    title = (
        f"KL {plan.kl_grade}, {plan.sex}, {plan.age:.0f} years, hospital {plan.hospital + 1}, {worn} pattern"
    )
    return Shown(knee=plan.knee, title=title, images=images, zoom=_zoom(root, plan, images), zoom_mm=ZOOM_MM)


def _is_dicom(root: Path, plan: SimulatedKnee) -> bool:
    return knee_paths(plan.knee, root, dicom=True)[0].is_dir()


def _zoom(root: Path, plan: SimulatedKnee, images: KneeImages) -> Mapping[str, NDArray[np.float32]]:
    """Return a sagittal square in the medial tibia: the structure itself, and what MR and CT make of it."""
    cells = cells_of(root, plan.knee)
    medial_tibia = cells[(cells["bone"] == "tibia") & (cells["compartment"] == "medial")]
    middle = medial_tibia[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=np.float64).mean(axis=0)
    count = round(ZOOM_MM / ZOOM_PIXEL_MM)
    first = middle - np.array([0.0, ZOOM_MM / 2, ZOOM_MM / 2])
    square = Geometry.axis_aligned((count, count, 1), (ZOOM_PIXEL_MM,) * 3, first)
    pictures: dict[str, NDArray[np.float32]] = {"truth": _structure(plan, square)}
    if images.mr is not None:
        pictures["MR"] = images.mr.resample_onto(square, images.poses["tibia"], order=0).array[:, :, 0]
    pictures["CT"] = images.ct.resample_onto(square, order=0, fill=-1000).array[:, :, 0]
    return {name: values[::-1] for name, values in pictures.items()}


def _structure(plan: SimulatedKnee, grid: Geometry) -> NDArray[np.float32]:
    knee = pose_knee(plan, VIEWS[plan.profile].extent)
    mineral, _ = compose(
        knee.scene, knee.sessions["ct"].bone_from_world() @ grid.affine, grid.shape, sharp=True
    )
    return mineral[:, :, 0]


def _scanner(number: int, protocol: ct.CtProtocol) -> Scanner:
    pixel, kernel = protocol.pixel_mm, "edge-enhancing" if protocol.overshoot else "smooth"
    title = f"hospital {number + 1}: {pixel} × {protocol.slice_mm} mm, {protocol.energy_kev:g} keV, {kernel}"
    return Scanner(title=title, noise_power=_noise_power(protocol), transfer=_transfer(protocol))


def _noise_power(protocol: ct.CtProtocol) -> Curve:
    grid = _grid(protocol, (32, 256, 256))
    noise = ct.sample_noise(np.random.default_rng(0), grid, protocol, protocol.noise_hu)
    found = measure_noise_power(noise, (protocol.pixel_mm, protocol.pixel_mm))
    radius = ct.radial_frequency((256, 256), (protocol.pixel_mm, protocol.pixel_mm))
    cell = (1 / (256 * protocol.pixel_mm)) ** 2
    scale = protocol.noise_hu**2 / (float(ct.noise_power(radius, protocol).sum()) * cell)
    return Curve(frequency=found.x, measured=found.y, prescribed=scale * ct.noise_power(found.x, protocol))


def _transfer(protocol: ct.CtProtocol) -> Curve:
    grid = _grid(protocol, (8, 96, 96))
    session = ct.CtSession(mineral_density=1.0, marrow_hu=-50.0, noise_factor=1.0, seed=0)
    image = ct.acquire_noiseless(
        phantoms.edge_scene(EDGE), phantoms.identity_poses(), grid, protocol, ct.hu_table(protocol, session)
    )
    place = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    found = measure_mtf(image, place @ (EDGE / np.linalg.norm(EDGE)))
    seen = (found.x <= 0.5 / protocol.pixel_mm) & (np.arange(found.x.size) % 3 == 0)
    frequency = found.x[seen]
    prescribed = ct.mtf(frequency, protocol.psf_mm, protocol.overshoot).astype(np.float64)
    return Curve(frequency=frequency, measured=found.y[seen], prescribed=prescribed)


def _grid(protocol: ct.CtProtocol, shape: tuple[int, int, int]) -> Geometry:
    spacing = np.array([protocol.slice_mm, protocol.pixel_mm, protocol.pixel_mm])
    first = -(np.array(shape) - 1) / 2 * spacing
    return Geometry.axis_aligned(shape, spacing, first[::-1])
