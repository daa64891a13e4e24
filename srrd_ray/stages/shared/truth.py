"""The truth of a simulated cohort; read by evaluation alone, never by training."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.geometry import Points
from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol
from srrd_ray.core.records import Knee, Patch
from srrd_ray.stages.shared.gather import read_of_run
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.patch_store import read_index
from srrd_ray.storage.tables import read_table

SCHEMA = "srrd-truth/1"
SUMS = ("n_total", "n_bone", "sum_th_mm", "n_marrow", "sum_sp_mm")
CELLS = ("bone", "compartment", "x_mm", "y_mm", "z_mm", "cell_mm", *SUMS)
PATCH_HALF_MM = (6.0, 6.125, 6.125)
"""Half the edges of a patch along LPS x, y, z: the MR cube of 12 x 12.25 x 12.25 mm."""
LEAST_COVERAGE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PoseTruth:
    """The true CT -> MR transform of one bone (4x4, LPS mm) and its landmarks (n, 3) in CT LPS mm."""

    matrix: Points
    landmarks: Points


def truth_root(cohort: Path) -> Path:
    """Return where a simulated cohort keeps its truth; nowhere else is it read."""
    return cohort / "derivatives" / "truth"


def truth_folder(cohort: Path, knee: Knee) -> Path:
    """Return where a simulated cohort keeps the truth of a participant."""
    return truth_root(cohort) / f"sub-{knee.participant}"


def has_truth(cohort: Path) -> bool:
    """Return whether the cohort is a simulated one."""
    return truth_root(cohort).is_dir()


def has_truth_of(cohort: Path, knee: Knee) -> bool:
    """Return whether the truth of a knee is kept under its name; not so where it goes by a pseudonym."""
    return (truth_folder(cohort, knee) / f"{knee.key}_truth.json").is_file()


def read_poses(cohort: Path, knee: Knee) -> Mapping[BoneName, PoseTruth]:
    """Return the true pose of each bone of a knee.

    Raises
    ------
    StoreError
        `truth-missing`, or `truth-invalid` for another schema or shape.
    """
    path = truth_folder(cohort, knee) / f"{knee.key}_truth.json"
    if not path.is_file():
        raise StoreError("truth-missing", "no truth for this knee", where=path.name)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {str(data['schema'])[:40]}")
        return {bone: _pose(data["transforms"][bone], data["landmarks_ct_lps"][bone]) for bone in BONES}
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            "truth-invalid", "not the truth of a knee", where=path.name, got=str(error), expected=SCHEMA
        ) from error


def patch_truth(cohort: Path, patches: tuple[Patch, ...]) -> pd.DataFrame:
    """Return the true parameters of patches of one knee: store, row, the four parameters and `coverage`.

    Truth is additive over cells: those with their centre inside the cube are summed. `Tb.N` is (BV/TV)/Tb.Th,
    the plate model. Patches of which less than `LEAST_COVERAGE` is covered by cells, or without bone, are
    left out.
    """
    knee = patches[0].knee
    if any(patch.knee != knee for patch in patches):
        raise InputError("patches-mixed", "patches of one knee are wanted", where=knee.key)
    table = cells_of(cohort, knee)
    values = parameters_in_cubes(table, [(patch.bone, patch.center_lps_mm) for patch in patches])
    rows = [
        (patch.store.stem, patch.row, *row.tolist())
        for patch, row in zip(patches, values, strict=True)
        if np.isfinite(row).all()
    ]
    return pd.DataFrame(rows, columns=["store", "row", *PARAMETERS, "coverage"])


def parameters_in_cubes(
    cells: pd.DataFrame, cubes: Sequence[tuple[BoneName, tuple[float, float, float]]]
) -> NDArray[np.float64]:
    """Return the true parameters and the coverage (n, 5) of cubes, each a bone and a centre in CT LPS mm.

    NaN where less than `LEAST_COVERAGE` of a cube is covered by cells, or where it has no bone.
    """
    centres = cells[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=np.float64)
    sums = np.column_stack(
        [cells["cell_mm"].to_numpy(dtype=np.float64) ** 3, cells[list(SUMS)].to_numpy(dtype=np.float64)]
    )
    of_bone = {bone: (cells["bone"] == bone).to_numpy() for bone in BONES}
    values = np.full((len(cubes), len(PARAMETERS) + 1), np.nan)
    for row, (bone, centre) in enumerate(cubes):
        inside = (np.abs(centres - centre) <= PATCH_HALF_MM).all(axis=1) & of_bone[bone]
        values[row] = _parameters(sums[inside].sum(axis=0)) or np.nan
    return values


def true_parameters(
    layout: RunLayout, cohort: Path, patients: Collection[str] | None = None
) -> pd.DataFrame | None:
    """Return the true parameters of every patch in a shard of the run, or of those of some `patients`; None
    where the cohort has no truth.

    Shards of an earlier, larger cohort may lie beside those that the run's measures name.
    """
    measures = read_of_run(layout, "measures")
    if not has_truth(cohort) or measures is None:
        return None
    stores = set(measures["store"].astype(str))
    patches: dict[Knee, list[Patch]] = {}
    for shard in (path for path in layout.shards() if path.stem in stores):
        for patch in read_index(shard):
            if patients is None or patch.knee.participant in patients:
                patches.setdefault(patch.knee, []).append(patch)
    parts = [
        patch_truth(cohort, tuple(of_knee))
        for knee, of_knee in sorted(patches.items())
        if has_truth_of(cohort, knee)
    ]
    return pd.concat(parts, ignore_index=True) if parts else None


def cells_of(cohort: Path, knee: Knee) -> pd.DataFrame:
    """Return the cells of a knee: bone, compartment, centre mm, and sums over the voxels of each."""
    return read_table(truth_folder(cohort, knee) / f"{knee.key}_cells.parquet", CELLS)


def parameters_of(cells: pd.DataFrame) -> dict[ParameterSymbol, float]:
    """Return the true parameters of all `cells` together; some bone and some marrow must be among them."""
    total, bone, th, marrow, sp = cells[list(SUMS)].to_numpy(dtype=np.float64).sum(axis=0).tolist()
    return dict(zip(PARAMETERS, _of_sums(total, bone, th, marrow, sp), strict=True))


def _of_sums(
    total: float, bone: float, th: float, marrow: float, sp: float
) -> tuple[float, float, float, float]:
    """Return BV/TV, Tb.Th, Tb.Sp and Tb.N, the last by the plate model (BV/TV)/Tb.Th."""
    return bone / total, th / bone, sp / marrow, bone / total / (th / bone)


def _parameters(sums: NDArray[np.float64]) -> tuple[float, float, float, float, float] | None:
    mm3, total, bone, th, marrow, sp = sums.tolist()
    coverage = mm3 / float(np.prod(2 * np.array(PATCH_HALF_MM)))
    if coverage < LEAST_COVERAGE or min(bone, marrow) <= 0:
        return None
    return *_of_sums(total, bone, th, marrow, sp), coverage


def _pose(matrix: object, landmarks: object) -> PoseTruth:
    pose = PoseTruth(
        matrix=np.asarray(matrix, dtype=np.float64), landmarks=np.asarray(landmarks, dtype=np.float64)
    )
    if pose.matrix.shape != (4, 4) or pose.landmarks.ndim != 2 or pose.landmarks.shape[1] != 3:
        raise ValueError(f"shapes {pose.matrix.shape} and {pose.landmarks.shape}")
    return pose
