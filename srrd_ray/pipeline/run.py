"""A whole run, from a cohort on disk to a report.

All checks come before any work; the stages follow in order; a record is written whatever happens.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from srrd_ray.cohort.pseudonyms import pseudonymise, read_key
from srrd_ray.cohort.tables import Cohort, read_cohort
from srrd_ray.core.errors import SrrdError, exit_code
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import Executor
from srrd_ray.execution.graph import StageGraph
from srrd_ray.execution.listeners import Cleaner, ProgressLog
from srrd_ray.execution.lock import locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.stage import AnyStage
from srrd_ray.pipeline.configuration import RunConfig, read_config
from srrd_ray.pipeline.current import PAGES, OldFigures, outputs_of_run
from srrd_ray.pipeline.driver_death import stopped_by_signal
from srrd_ray.pipeline.inputs import hash_diagnoses, inputs_of
from srrd_ray.pipeline.limits import require_possible
from srrd_ray.pipeline.manifest import is_cut_short
from srrd_ray.pipeline.manifest_writer import ManifestWriter, refuse_other_run
from srrd_ray.pipeline.stages import STAGES, stages_until
from srrd_ray.pipeline.summary import summary
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.outputs import require_outside

log = logging.getLogger(__name__)

MakeExecutor: TypeAlias = Callable[[ClusterConfig], Executor]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What to run, and how; see `srrd run --help`.

    `stages` are those of the pipeline, or of an extension of it. `verify` reads every byte of what is
    finished and redoes what was altered. `pseudonym_key` is a file with the secret that makes pseudonyms of
    the participants; neither it nor its path is kept.
    """

    cohort: Path
    out: Path
    config: Path | None = None
    until: str = "report"
    overwrite: bool = False
    verify: bool = False
    pseudonym_key: Path | None = None
    stages: tuple[AnyStage, ...] = STAGES


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A run whose request, configuration and cohort were checked, before any work."""

    config: RunConfig
    stages: tuple[AnyStage, ...]
    cohort: Cohort
    layout: RunLayout
    request: RunRequest

    def manifest(self, require_lock: Callable[[], None] = lambda: None) -> ManifestWriter:
        """Return the writer of the manifest of the run; nothing is written yet."""
        return ManifestWriter(
            layout=self.layout, config=self.config, cohort=hash_diagnoses(self.cohort),
            stages=self.request.stages, knees=len(self.cohort.knees), until=self.request.until,
            require_lock=require_lock,
        )  # fmt: skip

    def refuse_other_run(self) -> None:
        """Stop where the folder holds another run (`run-differs`), unless it may be overwritten."""
        identity = hash_diagnoses(self.cohort)
        refuse_other_run(self.layout, self.config, identity, overwrite=self.request.overwrite)


def prepare(request: RunRequest) -> Prepared:
    """Return a run that is possible as far as can be told from its configuration, its tables and its folder.

    Raises
    ------
    ConfigError, CohortError
        For a wrong configuration, cohort or folder.
    """
    config = read_config(request.config)
    stages = stages_until(request.until, request.stages)
    out, root = request.out.resolve(), request.cohort.resolve()  # a job leaves its working directory
    require_outside(out, root, "the run would be inside the cohort")
    cohort = read_cohort(root)
    if request.pseudonym_key is not None:
        cohort = pseudonymise(cohort, read_key(request.pseudonym_key))
    require_possible(config, cohort, [stage.name for stage in stages])
    return Prepared(config=config, stages=stages, cohort=cohort, layout=RunLayout(root=out), request=request)


def graph_of(runner: Runner, manifest: ManifestWriter, cohort: Cohort) -> StageGraph:
    """Return the graph of the stages of a run, none of them run yet."""
    return StageGraph(
        runner=runner,
        layout=manifest.layout,
        stages=manifest.stages,
        inputs=inputs_of(cohort, manifest),
        remaining=[knee.knee for knee in cohort.knees],
    )


def run(request: RunRequest, make_executor: MakeExecutor) -> int:
    """Return the exit code of a whole run.

    It is 0 where all is done, 1 where some knee failed, 2 for an invalid cohort, 3 for cluster or storage.

    Raises
    ------
    ConfigError, CohortError
        Before any work, for a wrong configuration, cohort or folder.
    """
    asked = prepare(request)
    with locked(asked.layout.root) as held:
        asked.refuse_other_run()
        manifest = asked.manifest(held.require)
        executor = make_executor(asked.config.cluster)
        code = _run_stages(asked.stages, asked.cohort, manifest, executor, verify=request.verify)
    sys.stdout.write(summary(manifest))
    return code


def _run_stages(
    stages: tuple[AnyStage, ...],
    cohort: Cohort,
    manifest: ManifestWriter,
    executor: Executor,
    *,
    verify: bool,
) -> int:
    resumes = is_cut_short(manifest.layout)
    manifest.write("running", None)
    listeners = (
        ProgressLog(),
        Cleaner(layout=manifest.layout, resumes=resumes),
        OldFigures(layout=manifest.layout, stages=manifest.stages),
        manifest,
    )
    with Runner(executor=executor, listeners=listeners, verify=verify) as runner:
        graph = graph_of(runner, manifest, cohort)
        for stage in stages:
            try:
                graph.run_stage(stage)
            except Exception as error:  # a defect of ours is recorded too, with a report of what there is
                return _stop(stage, manifest, error)
            except (KeyboardInterrupt, SystemExit) as ended:  # SIGTERM is the latter where Ray is connected
                how = "signal SIGINT" if isinstance(ended, KeyboardInterrupt) else "signal SIGTERM"
                manifest.record_stop(stage.name, stopped_by_signal(stage.name, how))
                manifest.write("stopped", 3)
                raise
    code = 1 if manifest.failed() else 0
    manifest.write("finished", code)
    return code


def _stop(stage: AnyStage, manifest: ManifestWriter, error: Exception) -> int:
    """Return the exit code of a run that cannot go on, after recording why and reporting what there is."""
    log.error("%-16s stopped: %s", stage.name, error, exc_info=not isinstance(error, SrrdError))
    code = exit_code(error)
    manifest.record_stop(stage.name, error)
    manifest.write("stopped", code)
    belongs = outputs_of_run(manifest.layout, manifest.times, manifest.stages)
    OldFigures(layout=manifest.layout).remove(keep=(belongs.kinds or frozenset()) - set(PAGES))
    if stage.name not in ("report", "ingest"):
        from srrd_ray.stages.shared.run_page import build_report  # here: plots take a second to import

        build_report(belongs)
    return code
