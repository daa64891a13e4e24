"""How fast ingest and the patch store are, against the least work that could be done.

Usage: ``OMP_NUM_THREADS=1 python benchmarks/ingest.py [FOLDER] [--quick]`` (FOLDER:
where to write, on the disk in question).

Ingest of a paper-size pair (CT 512×512×240 as DICOM, MR 512×512×160 as NIfTI) is compared with reading both
with pydicom and nibabel and writing their raw bytes; peak memory is compared with the larger volume.
Patches are compared with the same arrays through plain Zarr, same chunks, shards and compression.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from srrd_ray.cohort.check import check
from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Knee, Patch
from srrd_ray.stages.ingest import IngestConfig, ingest
from srrd_ray.storage import patch_store
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.sharded import ZSTD_LEVEL
from tests.imaging import makers


def anatomy(shape: tuple[int, int, int], low: int, high: int, noise: float) -> NDArray[np.int16]:
    """Return (z, y, x) values that compress like a knee: a body in air, smooth anatomy, noise."""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    body = ((y - shape[1] / 2) / (0.4 * shape[1])) ** 2 + ((x - shape[2] / 2) / (0.4 * shape[2])) ** 2 < 1
    wave = np.sin(z / 31) + np.sin(y / 47) + np.sin(x / 53)
    values = np.where(body, high + 0.3 * high * wave, low) + rng.normal(0, noise, shape).astype(np.float32)
    rounded: NDArray[np.int16] = np.rint(values).astype(np.int16)
    return rounded


def write_pair(root: Path, scale: int) -> None:
    ct_shape, mr_shape = (
        (240 // scale, 512 // scale, 512 // scale),
        (160 // scale, 512 // scale, 512 // scale),
    )
    ct = anatomy(ct_shape, -1000, 300, 30)
    geometry = Geometry.axis_aligned(ct_shape, (0.625, 0.35, 0.35))
    makers.series(root / "sub-A1/ct/sub-A1_side-L_ct", geometry=geometry, values=ct)
    mr = anatomy(mr_shape, 0, 400, 15).clip(0)
    makers.nifti(root / "sub-A1/mr/sub-A1_side-L_mr.nii.gz", mr.T, np.diag([-0.3, -0.3, 0.7, 1.0]))
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nA1\t60\tF\n")
    (root / "knees.tsv").write_text("participant_id\tside\tkl_grade\toa\nA1\tL\t2\t1\n")


def least_work(root: Path, out: Path) -> None:
    """Read both images and write their raw bytes: what no ingest can avoid."""
    out.mkdir(parents=True, exist_ok=True)
    files = sorted((root / "sub-A1/ct/sub-A1_side-L_ct").iterdir())
    ct = np.stack([pydicom.dcmread(file).pixel_array for file in files])
    (out / "ct.raw").write_bytes(ct.tobytes())
    mr = np.asarray(nib.load(root / "sub-A1/mr/sub-A1_side-L_mr.nii.gz").dataobj)
    (out / "mr.raw").write_bytes(mr.tobytes())


def timed(what: Callable[[], object], repeats: int = 2) -> tuple[float, float]:
    """Return the shortest of several wall and processor times, s (the machine may be shared)."""
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        what()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(t[0] for t in times), min(t[1] for t in times)


def peak_mib(root: Path, out: Path) -> float:
    """Return the peak memory of ingest of the pair in a process of its own, above that of the imports,
    MiB (Linux).
    """
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from srrd_ray.cohort.tables import read_cohort; from srrd_ray.storage.layout import RunLayout\n"
        "from srrd_ray.stages.ingest import IngestConfig, ingest\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "ingest(read_cohort(Path(sys.argv[2])).knees[0], RunLayout(root=Path(sys.argv[3])), IngestConfig())\n"
        "print(peak() - before)"
    )
    repository = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, repository, str(root), str(out)], capture_output=True, check=True
    )
    return int(done.stdout) / 1024


def bench_ingest(folder: Path, scale: int) -> None:
    root = folder / "cohort"
    write_pair(root, scale)
    knee = read_cohort(root).knees[0]
    raw = timed(lambda: least_work(root, folder / "raw"))
    ours = timed(lambda: ingest(knee, RunLayout(root=folder / "run"), IngestConfig()))
    mib = sum(file.stat().st_size for file in (folder / "raw").iterdir()) / 2**20
    largest = max(file.stat().st_size for file in (folder / "raw").iterdir()) / 2**20
    stored = sum(file.stat().st_size for file in (folder / "run").rglob("*") if file.is_file()) / 2**20
    peak = peak_mib(root, folder / "run2")
    for name, a, b in (("wall", raw[0], ours[0]), ("processor", raw[1], ours[1])):
        print(f"pair {mib:.0f} MiB, {name}: raw {a:.2f} s, ingest {b:.2f} s, ratio {b / a:.2f} (at most 2)")
    print(
        f"stored {stored:.0f} MiB; peak memory {peak:.0f} MiB, {peak / largest:.2f} × the larger volume (at "
        f"most 3)"
    )
    start = time.perf_counter()
    check(root)
    print(f"check {time.perf_counter() - start:.2f} s with voxels", end=", ")
    print(f"{timed(lambda: check(root, pixels=False))[0]:.2f} s headers alone")


def bench_patches(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[np.generic]] = {
        "ct": rng.normal(300, 200, (rows, 16, 32, 32)).astype(np.int16),
        "mr": rng.normal(300, 60, (rows, 56, 56, 16)).astype(np.float16),
        "ct_mask": np.ones((rows, 16, 32, 32), np.uint8),
    }
    path, plain = folder / "shard-00000.zarr", folder / "plain.zarr"
    knee = Knee(participant="A1", side="L")
    patches = [
        Patch(
            store=path,
            row=i,
            knee=knee,
            bone="femur",
            compartment="medial",
            center_lps_mm=(0, 0, 0),
            depth_mm=7,
        )
        for i in range(rows)
    ]
    mib = sum(array.nbytes for array in arrays.values()) / 2**20
    write = (
        timed(lambda: patch_store.write_shard(path, arrays, patches)),
        timed(lambda: write_plain(plain, path, arrays)),
    )
    read = timed(lambda: patch_store.read_shard(path)), timed(lambda: read_plain(plain, list(arrays)))
    for name, (ours, raw) in (("written", write), ("read", read)):
        for kind, a, b in (("wall", ours[0], raw[0]), ("processor", ours[1], raw[1])):
            shares = f"{mib / a:.0f} MiB/s, raw Zarr {mib / b:.0f} MiB/s, {100 * b / a:.0f} % (at least 60)"
            print(f"patches {name}, {kind}: {shares}")


def write_plain(path: Path, like: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    group, model = zarr.create_group(path, overwrite=True), zarr.open_group(like, mode="r")
    for name, values in arrays.items():
        reference = model[name]
        assert isinstance(reference, zarr.Array)
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, chunks=reference.chunks, shards=reference.shards,
            compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)],
        )  # fmt: skip
        array[:] = values


def read_plain(path: Path, names: list[str]) -> None:
    group = zarr.open_group(path, mode="r")
    for name in names:
        array = group[name]
        assert isinstance(array, zarr.Array)
        array[:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--quick", action="store_true", help="an eighth of the size")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        bench_ingest(Path(folder), 2 if asked.quick else 1)
        bench_patches(Path(folder), 256 if asked.quick else 1024)


if __name__ == "__main__":
    main()
