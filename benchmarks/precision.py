"""How well the values of a model repeat: the same knees scanned by CT again, and how often its 90 % intervals hold.

Run: ``OMP_NUM_THREADS=1 python benchmarks/precision.py FOLDER [--knees 30] [--model MODEL] [--record]``.
Knees of a seed of their own, nobody's of a cohort or a school, are scanned four times (`simulation.rescan`): first;
repositioned on the same scanner; on it on another day; on another hospital's scanner. Bones are found and cubes
placed as `srrd infer` does it; the field of view shows the joint as a whole, so that the network finds them. Cubes
are kept in FOLDER: the same command goes on where it stopped, and reads another MODEL without simulating anew.
Printed are, for each parameter and region, RMS-CV (Glüer 1995) with its interval and the least significant change,
and the coverage of the 90 % intervals by the exact truth of the first scans. ``--record`` writes
``precision.json`` into MODEL. ``--school SHARDS`` adds the coverage over held-out knees of a school, each by the
interval that the others give. ``--bones true`` cuts cubes at the true bones, ``--bones first`` at the very places of
the first scan: what of the error is due to where cubes lie.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import transform_points
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.knee_bones.find import find_bones
from srrd_ray.patches import SubchondralPoint, cut_ct
from srrd_ray.patches.sampling import contains_grid, ct_grid
from srrd_ray.simulation.cohort import View, pose_knee
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.rescan import CtVisit, Visit, sample_rescanned, scan_visit
from srrd_ray.simulation.truth import truth_cells
from srrd_ray.stages.infer import DENSE
from srrd_ray.stages.patches import patches_of
from srrd_ray.stages.shared.expected import read_expected
from srrd_ray.stages.shared.models import Model, load_model
from srrd_ray.stages.shared.precision import write_precision
from srrd_ray.stages.shared.reading import cut_cubes_of, predict_ensemble
from srrd_ray.stages.shared.school_cubes import read_all_cubes
from srrd_ray.stages.shared.school_files import SHIPPED
from srrd_ray.stages.shared.truth import parameters_in_cubes, parameters_of
from srrd_ray.statistics.coverage import coverage, left_out
from srrd_ray.statistics.model_precision import (
    REGION,
    REPEATS,
    IntervalCoverage,
    ModelPrecision,
    interval_coverage,
    repeat_errors,
)
from srrd_ray.statistics.pairs import KEYS, REFERENCE, region_pairs
from srrd_ray.storage import patch_store
from srrd_ray.storage.atomic import replacing

Arrays: TypeAlias = dict[str, NDArray[np.generic]]
Points: TypeAlias = tuple[SubchondralPoint, ...]
Bones: TypeAlias = Literal["found", "true", "first"]
VISITS: Final[tuple[Visit, ...]] = get_args(Visit)
SEED: Final = 2029
VIEW: Final = View(
    ct_mm=(80.0, 64.0, 62.0), mr_mm=(80.0, 64.0, 62.0), center_mm=(0, 0, 0), truth_voxel_mm=0.08
)
"""The joint as a whole to the network that finds bones (60 mm and more each way), and not more: time."""
CELLS: Final = "cells.parquet"
REGIONS: Final = (*product(BONES, COMPARTMENTS), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescans:
    """A set of simulated knees: how many, of which seed, where their cubes are kept, whose bones place them."""

    knees: int
    seed: int
    folder: Path
    bones: Bones

    def folder_of(self, plan: SimulatedKnee) -> Path:
        """Return where a knee is kept."""
        return self.folder / f"seed-{self.seed}_bones-{self.bones}" / plan.knee.participant

    def shard(self, plan: SimulatedKnee, visit: Visit) -> Path:
        """Return the cubes of a visit."""
        return self.folder_of(plan) / f"{visit.replace(' ', '-')}.zarr"

    def plans(self) -> tuple[SimulatedKnee, ...]:
        """Return the knees, each of another person."""
        return tuple(sample_rescanned(number, self.seed) for number in range(self.knees))


def simulate(scans: Rescans) -> None:
    """Scan every knee that is not in the folder yet."""
    for plan in scans.plans():
        cells = scans.folder_of(plan) / CELLS
        missing = [one for one in VISITS if not patch_store.index_path(scans.shard(plan, one)).is_file()]
        if not missing and cells.is_file():
            continue
        knee = pose_knee(plan, VIEW.extent)
        for visit in missing:
            write_cubes(scans, plan, visit, scan_visit(plan, knee, VIEW, visit))
        table = truth_cells(knee.scene, knee.sessions["ct"], knee.anatomy, VIEW.truth_voxel_mm)
        with replacing(cells) as temporary:
            pd.DataFrame([asdict(cell) for cell in table]).to_parquet(temporary)
        print(plan.knee.key, flush=True)


def write_cubes(scans: Rescans, plan: SimulatedKnee, visit: Visit, taken: CtVisit) -> None:
    """Write the cubes of a visit; a shard without any where `srrd infer` would refuse the scan."""
    path = scans.shard(plan, visit)
    try:
        points, arrays = cut(scans, plan, visit, taken)
    except InputError as refused:
        print(f"{plan.knee.key} {visit}: {refused}", flush=True)
        points, arrays = (), {"ct": np.zeros(0, np.int16)}
    attributes = {"hospital": taken.hospital}
    patch_store.write_shard(path, arrays, patches_of(path, [(plan.knee, one) for one in points]), attributes)


def cut(scans: Rescans, plan: SimulatedKnee, visit: Visit, taken: CtVisit) -> tuple[Points, Arrays]:
    """Return the cubes of a visit, a row each, and where they lie."""
    if scans.bones == "first" and visit != "first":
        points = tuple(places_of_first(scans, plan, taken))
        cubes = [cut_ct(taken.image, taken.bones, point) for point in points]
        return points, {
            "ct": np.rint(np.stack([cube.image for cube in cubes])).astype(np.int16),
            "ct_mask": np.stack([cube.mask for cube in cubes]).astype(np.uint8),
        }
    side, bones = plan.knee.side, taken.bones
    if scans.bones == "found":
        bones = find_bones(taken.image, "ct", side).labels
    found = cut_cubes_of(taken.image, bones, side, DENSE)
    return found.placement.kept, {"ct": found.images, "ct_mask": found.masks}


def places_of_first(scans: Rescans, plan: SimulatedKnee, taken: CtVisit) -> Iterator[SubchondralPoint]:
    """Yield the places of the first scan's cubes, moved with their bones; those that the image holds."""
    first = pose_knee(plan, VIEW.extent).sessions["ct"]
    moved = taken.session.world_from_bone @ np.linalg.inv(first.world_from_bone)
    for patch in patch_store.read_index(scans.shard(plan, "first")):
        x, y, z = transform_points(moved[BONES.index(patch.bone)], np.array(patch.center_lps_mm)).tolist()
        if contains_grid(taken.image, ct_grid((x, y, z))):
            yield SubchondralPoint(
                bone=patch.bone,
                compartment=patch.compartment,
                center_lps_mm=(x, y, z),
                depth_mm=patch.depth_mm,
            )


def read(scans: Rescans, model: Model) -> pd.DataFrame:
    """Return what a model reads in every scan, a row a cube; readings are kept beside the cubes."""
    digest = hash_json(dict(model.card.weights))[:12]
    tables = [
        read_visit(scans.shard(plan, visit), model, digest).assign(visit=visit)
        for plan, visit in product(scans.plans(), VISITS)
    ]
    return pd.concat(tables, ignore_index=True)


def read_visit(shard: Path, model: Model, digest: str) -> pd.DataFrame:
    """Return the rows of one scan: participant, hospital, bone, compartment, x_mm, y_mm, z_mm, parameters."""
    kept = shard.with_name(f"{shard.stem}_{digest}.read.parquet")
    if not kept.is_file():
        index = patch_store.read_index(shard)
        rows = [(p.knee.participant, p.bone, p.compartment, *p.center_lps_mm) for p in index]
        table = pd.DataFrame(rows, columns=["participant", *REGION, "x_mm", "y_mm", "z_mm"])
        if index:
            arrays = patch_store.read_shard(shard)
            mean, _ = predict_ensemble(model, arrays["ct"], arrays["ct_mask"].astype(np.uint8))
            table[list(PARAMETERS)] = mean.astype(np.float64)
        table["hospital"] = patch_store.read_attributes(shard)["hospital"]
        with replacing(kept) as temporary:
            table.to_parquet(temporary)
    return pd.read_parquet(kept)


def region_means(cubes: pd.DataFrame) -> pd.DataFrame:
    """Return the value of each region of each scan: the mean of its cubes, as the page of a knee has it."""
    keys = ["participant", "visit", "hospital", *REGION]
    means: pd.DataFrame = cubes.groupby(keys, sort=True)[list(PARAMETERS)].mean().reset_index()
    return means


def with_truth(scans: Rescans, cubes: pd.DataFrame, *, same_cubes: bool) -> pd.DataFrame:
    """Return the values of first scans beside the truth, a row a knee and region.

    The truth is that of the block under the weight-bearing centre. With `same_cubes` the mean of the cubes that
    half of the block or more covers, value and truth alike.
    """
    first = cubes[cubes["visit"] == "first"]
    tables = []
    for plan in scans.plans():
        own, cells = first[first["participant"] == plan.knee.participant], read_cells(scans, plan)
        tables.append(own_truth(own, cells) if same_cubes else block_truth(region_means(own), cells))
    return pd.concat(tables, ignore_index=True)


def own_truth(cubes: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the means of the cubes with truth, and of their truth."""
    places = zip(cubes["bone"], cubes[["x_mm", "y_mm", "z_mm"]].to_numpy(), strict=True)
    truth = parameters_in_cubes(cells, list(places))[:, : len(PARAMETERS)]
    columns = [name + REFERENCE for name in PARAMETERS]
    both = cubes.reset_index(drop=True).join(pd.DataFrame(truth, columns=columns)).dropna()
    keys = ["participant", "hospital", *REGION]
    means: pd.DataFrame = both.groupby(keys)[[*PARAMETERS, *columns]].mean().reset_index()
    return means


def block_truth(regions: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the values of regions beside the truth of all cells of each."""
    rows = {
        region: {f"{name}{REFERENCE}": value for name, value in parameters_of(part).items()}
        for region, part in cells.groupby(REGION)
    }
    truth = pd.DataFrame([rows[tuple(region)] for region in regions[REGION].to_numpy()])
    return regions.reset_index(drop=True).join(truth)


def read_cells(scans: Rescans, plan: SimulatedKnee) -> pd.DataFrame:
    """Return the cells of the truth of a knee."""
    return pd.read_parquet(scans.folder_of(plan) / CELLS)


def measure(scans: Rescans, model: Model, folder: Path) -> ModelPrecision:
    """Return the precision of a model, and the coverage of the intervals that its pages show."""
    cubes, expected = read(scans, model), read_expected(folder)
    errors = expected.models[model.card.name].errors if expected else ()
    held = interval_coverage(with_truth(scans, cubes, same_cubes=False), errors) if errors else ()
    return ModelPrecision(
        weights=dict(model.card.weights), simulated=True, knees=scans.knees,
        refused=scans.knees * len(VISITS) - len(cubes.groupby(["participant", "visit"])),
        errors=tuple(repeat_errors(region_means(cubes))), coverage=tuple(held),
    )  # fmt: skip


def school_coverage(shards: list[Path], model: Model) -> Iterator[str]:
    """Yield a row a parameter: the coverage over knees of a school, each by the interval of the others."""
    data = read_all_cubes(shards)
    names = [str(region).split("-") for region in data.regions]
    rows = pd.DataFrame([(str(p), *n) for p, n in zip(data.patients, names, strict=True)], columns=list(KEYS))
    mean, _ = predict_ensemble(model, data.ct, data.ct_mask)
    for column, name in enumerate(PARAMETERS):
        pairs = region_pairs(
            rows.assign(**{name: mean[:, column], name + REFERENCE: data.targets[:, column]}), name
        )
        inside = left_out(np.abs(pairs.method - pairs.reference), pairs.patients)
        share, low, high = coverage(inside, pairs.patients)
        yield f"| {name} | {np.unique(pairs.patients).size} | {100 * share:.0f} % ({100 * low:.0f}-{100 * high:.0f}) |"


def error_rows(record: ModelPrecision) -> Iterator[str]:
    """Yield the table of precision errors."""
    yield "| scanned again | region | " + " | ".join(PARAMETERS) + " |"
    yield "|---" * 6 + "|"
    for repeat, region in product(REPEATS, REGIONS):
        cells = []
        for name in PARAMETERS:
            found = record.error(repeat, name, region)
            low, high = found.rms_cv_percent_ci if found else (np.nan, np.nan)
            change = found.least_significant_change if found else np.nan
            cells.append(
                f"{found.rms_cv_percent:.1f} % ({low:.1f}-{high:.1f}); {change:.3f}" if found else ""
            )
        yield f"| {repeat} | {' '.join(region) if region else 'mean of the regions'} | {' | '.join(cells)} |"


def coverage_rows(record: tuple[IntervalCoverage, ...]) -> Iterator[str]:
    """Yield the table of coverage."""
    found = {(one.group, one.name, one.parameter): one for one in record}
    yield "| values | knees | " + " | ".join(PARAMETERS) + " | together |"
    yield "|---" * 7 + "|"
    for group, name in dict.fromkeys((one.group, one.name) for one in record):
        ones = [found[group, name, parameter] for parameter in (*PARAMETERS, None)]
        cells = [f"{100 * o.share:.0f} % ({100 * o.ci[0]:.0f}-{100 * o.ci[1]:.0f})" for o in ones]
        yield f"| {name} | {ones[0].patients} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--knees", type=int, default=30)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--bones", choices=get_args(Bones), default="found")
    parser.add_argument("--model", type=Path, default=SHIPPED / "ct")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--school", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    scans = Rescans(knees=given.knees, seed=given.seed, folder=given.folder, bones=given.bones)
    simulate(scans)
    model, expected = load_model(given.model), read_expected(given.model)
    record = measure(scans, model, given.model)
    print(f"{record.knees} knees, {record.refused} scans refused; RMS-CV (95 %), least significant change")
    print(*error_rows(record), sep="\n")
    print(
        "Coverage of the 90 % intervals by the truth under the weight-bearing centre",
        *coverage_rows(record.coverage),
        sep="\n",
    )
    if expected:
        own = with_truth(scans, read(scans, model), same_cubes=True)
        errors = expected.models[model.card.name].errors
        print(
            "The same by the truth of the very cubes",
            *coverage_rows(tuple(interval_coverage(own, errors))),
            sep="\n",
        )
    if given.school:
        print("Of knees of a school, each by the others", *school_coverage(given.school, model), sep="\n")
    if given.record:
        print(write_precision(given.model, record))


if __name__ == "__main__":
    main()
