"""How much of a cluster to ask for, and the budget of a search.

No Ray here: a run is read in many places without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from srrd_ray.core.settings import AtLeast, Count, Natural, Share, validate_fields

GpuUse: TypeAlias = Literal["auto", "require", "never"]
Algorithm: TypeAlias = Literal["random", "tpe"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """How much of a cluster to ask for.

    Parameters
    ----------
    cpus
        CPUs of a local cluster; 0 takes what the machine has. Ignored on a running cluster.
    object_store_mb
        Object store of a local cluster, MiB; Ray takes no less than 75. Stages pass paths, so it stays small.
    training_workers
        DDP workers of every Ray Train run. Part of the result: gradients are summed over workers.
    gpu
        ``auto`` trains on GPUs where the cluster has one for every worker, ``require`` stops without them,
        ``never`` uses CPUs.
    knee_memory_mb
        Memory that is requested for a task over one knee, MiB.
    task_retries
        How often a task is tried again after its worker died; it is then tried once more with more memory
        (see `spread`), before its knee counts as failed.
    stall_seconds
        A stage without any progress for this long is stopped.
    """

    cpus: Natural = 0
    object_store_mb: Annotated[int, AtLeast(75)] = 256
    training_workers: Count = 2
    gpu: GpuUse = "auto"
    knee_memory_mb: Count = 2048
    task_retries: Natural = 2
    stall_seconds: Count = 1800

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """The budget of one search; every outer fold has a search of its own, on its own training patients.

    Parameters
    ----------
    trials
        Settings that are tried; the first is always the student without MR (all weights zero), the second the
        configured one.
    algorithm
        How the others are chosen: at random, or by a Parzen estimator (TPE, Bergstra 2011) from the trials
        that have ended, of which the first ten are drawn at random too. It needs the package's extra
        ``search``.
    grace_epochs
        Epochs that every trial may take before ASHA can stop it.
    reduction
        ASHA keeps one in `reduction` trials at each rung.
    cpus_per_trial
        CPUs (and torch threads) of a trial.
    gpus_per_trial
        Share of a GPU that a trial takes, so that several share one; 0 for CPUs alone. `cluster.gpu` says
        what happens where there is none.
    concurrent
        Trials at a time. With 1 the search is deterministic: ASHA compares a trial with those that reported
        before it, and the estimator learns from those that ended, so with more it depends on timing.
    """

    trials: Count = 4
    algorithm: Algorithm = "random"
    grace_epochs: Count = 2
    reduction: Annotated[int, AtLeast(2)] = 2
    cpus_per_trial: Count = 1
    gpus_per_trial: Share = 0.0
    concurrent: Count = 1

    def __post_init__(self) -> None:
        validate_fields(self)
