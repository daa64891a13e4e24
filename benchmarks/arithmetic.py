"""Which stages leave the same bytes under each test setting of `.ci/arithmetic`, on small inputs of the tests.

Run: ``OMP_NUM_THREADS=1 python benchmarks/arithmetic.py``; minutes. Each setting is a process of its own, and the first is run
twice. A row names the settings under which a result differs from that of setting 0.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from srrd_ray.diagnosis import patient_folds
from srrd_ray.distillation.inference import predict
from srrd_ray.distillation.step import TeacherLearner
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.patches import PatchConfig
from srrd_ray.registration.bones import segment_ct_bones
from srrd_ray.registration.rigid import RegistrationConfig, register_bone
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.stages.classify import classify
from srrd_ray.stages.evaluate import evaluate
from srrd_ray.stages.measure import measure_knee
from srrd_ray.stages.patches import write_shard
from srrd_ray.stages.simulate import simulate_knee
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from tests.distillation import test_step as teaching
from tests.distillation.toys import SMALL, toy
from tests.measurement.test_image import write_nifti
from tests.registration import phantoms
from tests.run_folder import make_run
from tests.stages import test_classify, test_measure, test_patches
from tests.stages.test_simulate import TINY
from tests.synthesis import test_step as synthesis

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = [str(number) for number in range(9)]

Found = Iterator[tuple[str, bytes]]


def simulated(root: Path) -> Found:
    """Yield each file of a simulated knee, and the plan of its cohort."""
    plan = simulate_cohort_plan(18, 5)
    yield "simulate: plan", repr(plan).encode()
    for path in simulate_knee(plan[0], root / "cohort", TINY):
        yield f"simulate: {path.name.rsplit('_', 1)[-1]}", path.read_bytes()


def measured(root: Path) -> Found:
    """Yield each measure of a binary volume and of a grey one, and the table of MR patches."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((48, 52, 56)), 2.0)
    images = {
        "binary": (noise > 0.02).astype(np.uint8),
        "auto": (noise * 4000 + 500).clip(0, 1000).astype(np.int16),
    }
    for threshold, image in images.items():
        row = measure_image(write_nifti(root / f"{threshold}.nii", image), Recipe(threshold=threshold))
        yield from ((f"measure a volume: {name}", repr(value).encode()) for name, value in row.items())
    layout, shard = test_measure.make_run(root / "measure")
    table = measure_knee(test_measure.KNEE, layout, shard, test_measure.CONFIG)
    yield "measure: table of MR patches", table.read_bytes()


def registered(_: Path) -> Found:
    """Yield the labels of a phantom, and the pose of its tibia."""
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((6, 2, -3), (12, -5, 3))
    image = phantoms.moved(ct, pose)
    yield "register: labels of the CT", segment_ct_bones(ct, "R").array.tobytes()
    masks = labels.array == 2, phantoms.moved_labels(labels, image, pose).array == 2
    yield (
        "register: matrix",
        np.array(register_bone(ct, image, *masks, RegistrationConfig()).matrix).tobytes(),
    )


def cut(root: Path) -> Found:
    """Yield the shard of a knee."""
    layout, knee = RunLayout(root=root / "patches"), test_patches.knee_of("001")
    test_patches.store_ct(layout, knee)
    test_patches.store_mr(layout, knee)
    yield "ingest: volume", hash_file(layout.volume(knee, "ct")).encode()
    write_shard(layout.shard(0), (knee,), layout, PatchConfig())
    yield "patches: shard", hash_file(layout.shard(0)).encode()


def learnt(_: Path) -> Found:
    """Yield weights and predictions of a teacher, and the weights of a CycleGAN."""
    data = toy(48)
    teacher, gan = TeacherLearner("t", data, SMALL, 0), synthesis.learner()
    teaching.train(teacher, range(2))
    synthesis.run(gan, range(2))
    yield "teach: weights", b"".join(value.numpy().tobytes() for value in teaching.weights(teacher).values())
    yield "predict: values", predict(teacher.network, data.mr, data.mr_mask)[0].tobytes()
    yield "learn-synthesis: weights", synthesis.weights(gan).numpy().tobytes()


def judged(root: Path) -> Found:
    """Yield folds, diagnoses and metrics of drawn tables."""
    yield "tables: folds", repr(patient_folds([f"p{n}" for n in range(40)], [0, 1] * 20, 4, 0)).encode()
    made = make_run(root / "judged", patients=16)
    classify(made.layout, test_classify.QUICK, seed=0)
    yield "classify: table", made.layout.table("diagnosis").read_bytes()
    yield "evaluate: metrics", evaluate(made.layout, made.cohort).read_bytes()


PARTS: tuple[Callable[[Path], Found], ...] = (simulated, measured, registered, cut, learnt, judged)


def hashes() -> dict[str, str]:
    """Return the hash of every result in this process."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[str]] = {}
        for part in PARTS:
            for name, data in part(Path(folder)):
                found.setdefault(name, []).append(hashlib.sha256(data).hexdigest())
    return {name: " ".join(values) for name, values in found.items()}


def under(setting: str) -> dict[str, str]:
    """Return the hashes of a process under a test setting."""
    chosen = subprocess.run(
        [ROOT / ".ci" / "arithmetic", setting], capture_output=True, text=True, check=True
    ).stdout
    names = dict(pair.split("=", 1) for pair in chosen.split())
    ended = subprocess.run(
        [sys.executable, __file__, "here"], capture_output=True, text=True, check=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | names,
    )  # fmt: skip
    found: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table, or the hashes of this process."""
    if sys.argv[1:] == ["here"]:
        sys.stdout.write(json.dumps(hashes()) + "\n")
        return
    first = under("0")
    others = {setting: under(setting) for setting in SETTINGS}
    for name, value in first.items():
        differ = [setting for setting, found in others.items() if found[name] != value]
        sys.stdout.write(f"{name:40s} {' '.join(differ) or 'same'}\n")


if __name__ == "__main__":
    main()
