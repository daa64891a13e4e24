"""A small cohort through the real code without Ray, one work item after the other:
the work of one process.

``python benchmarks/small_local.py FOLDER KNEES``; a second call skips all. Last line:
CPU seconds and greatest memory (MiB).
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from pathlib import Path

from scale import make_cohort
from small_acts import SmallActs, learn_little

from srrd_ray.execution import runner as engine
from srrd_ray.execution.work import run_safely
from srrd_ray.pipeline.run import run as pipeline


def main() -> int:
    folder, knees = Path(sys.argv[1]), int(sys.argv[2])
    cohort = make_cohort(folder / f"cohort-{knees}", knees)
    engine.foreach = lambda task, units, _: (run_safely(task, unit) for unit in units)  # type: ignore[assignment]
    engine.session = lambda _: contextlib.nullcontext()  # type: ignore[assignment]
    pipeline.Acts, pipeline.Pipeline._learnt = SmallActs, learn_little  # type: ignore[misc, method-assign]
    started = time.process_time()
    code = pipeline.run(cohort, folder / f"local-{knees}", None, until="report", overwrite=False)
    print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return code


if __name__ == "__main__":
    sys.exit(main())
