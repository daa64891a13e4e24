"""A small cohort through the real code without Ray, work items one after the other: what is left is the work of one process.

``python benchmarks/small_local.py FOLDER KNEES``; a second call skips all. Last line:
CPU seconds and greatest memory (MiB).
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from scale import make_cohort
from small_stages import small_stages

from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.pipeline.run import RunRequest, run


def plain_loop(_: ClusterConfig) -> PlainLoop:
    return PlainLoop()


def main() -> int:
    folder, knees = Path(sys.argv[1]), int(sys.argv[2])
    cohort = make_cohort(folder / f"cohort-{knees}", knees)
    started = time.process_time()
    request = RunRequest(cohort=cohort, out=folder / f"local-{knees}", stages=small_stages(cohort))
    code = run(request, plain_loop)
    print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return code


if __name__ == "__main__":
    sys.exit(main())
