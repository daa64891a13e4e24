"""What stages read from outside the run, and hashes of it.

It is the images of a knee, the tables of the cohort, its truth, run.json, the segmenter's weights, and what
learnt from simulated knees: readers and synthesis.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from srrd_ray.cohort.tables import Cohort
from srrd_ray.core import serial
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import CohortKnee, Knee
from srrd_ray.execution.graph import Inputs
from srrd_ray.execution.stage import COHORT, CohortInputs, Outside
from srrd_ray.knee_bones.segmenter_files import hash_segmenter
from srrd_ray.pipeline.manifest_writer import ManifestWriter
from srrd_ray.stages.patches import plan_shards
from srrd_ray.stages.shared.school_files import hash_school
from srrd_ray.stages.shared.synthesis_card import hash_synthesis
from srrd_ray.stages.shared.truth import truth_folder, truth_root
from srrd_ray.storage.parallel import parallel_map
from srrd_ray.storage.paths import cached_listing, list_sizes


@dataclass(frozen=True, kw_only=True)
class OutsideInputs:
    """The hash of each outside input of a run."""

    cohort: Cohort
    manifest: ManifestWriter

    def __call__(self, kind: Outside, item: str) -> str:
        """Return the hash of an outside input for the work item of a name."""
        match kind:
            case "images":
                return self._images[item]
            case "diagnoses":
                return hash_diagnoses(self.cohort)
            case "truth":
                root = self.cohort.root
                folder = truth_root(root) if item == COHORT else truth_folder(root, Knee.parse(item))
                return hash_json(list_sizes(folder) if folder.is_dir() else None)
            case "segmenter":
                return self._segmenter
            case "school":
                return self._school
            case "synthesis":
                return self._synthesis
            case "manifest":
                failed = [(o.subject, o.stage, o.error.code) for o in self.manifest.failed() if o.error]
                return hash_json(json.loads(serial.to_json(self.manifest.config)), sorted(failed))

    @cached_property
    def _segmenter(self) -> str:
        """The hash of the network that finds bones, where this run's settings use it."""
        registration = self.manifest.config.registration
        used = registration.bones.by != "rules" or registration.moving_bones != "synthetic-ct"
        return hash_segmenter(registration.bones.segmenter) if used else "unused"

    @cached_property
    def _school(self) -> str:
        """The hash of the school's readers, where this run learns from them."""
        distillation = self.manifest.config.distillation
        return hash_school(distillation.school) if distillation.labels == "reader" else "unused"

    @cached_property
    def _synthesis(self) -> str:
        """The hash of the synthesis that this run begins at, if it does."""
        synthesis = self.manifest.config.synthesis
        return hash_synthesis(synthesis.school) if synthesis.start == "school" else "unused"

    @cached_property
    def _images(self) -> dict[str, str]:
        """The hash of the source files of each knee, without reading them: names, sizes, times of change."""
        with cached_listing(self.cohort.root):
            hashes = parallel_map(_hash_images, self.cohort.knees, self.cohort.root)
        return {knee.knee.key: found for knee, found in zip(self.cohort.knees, hashes, strict=True)}


def inputs_of(cohort: Cohort, manifest: ManifestWriter) -> Inputs:
    """Return the inputs of all stages of a run."""
    knees = [knee.knee for knee in cohort.knees]
    return Inputs(
        config=manifest.config,
        sources={knee.knee.key: knee for knee in cohort.knees},
        shards=plan_shards(knees, manifest.config.patches.knees_per_shard),
        cohort=CohortInputs(knees=cohort.knees, root=cohort.root),
        hash_outside=OutsideInputs(cohort=cohort, manifest=manifest),
    )


def hash_diagnoses(cohort: Cohort) -> str:
    """Return the hash of the tables of a cohort, by which a run also knows its cohort again."""
    return hash_json([_diagnosis_of(knee) for knee in cohort.knees])


def _diagnosis_of(knee: CohortKnee) -> tuple[object, ...]:
    """Return the row of a knee in the cohort's tables."""
    return (knee.knee.key, knee.oa, knee.kl_grade, knee.age, knee.sex)


def _hash_images(knee: CohortKnee) -> str:
    paths = [series.path for series in (knee.ct, knee.mr) if series is not None]
    paths += [path for *_, path in knee.masks]
    return hash_json([file for path in paths for file in list_sizes(path)])
