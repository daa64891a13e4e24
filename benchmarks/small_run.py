"""A run over a small cohort with the stages of `small_stages`: ``python benchmarks/small_run.py COHORT OUT``; last line: what it used."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path

from small_stages import small_stages

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.pipeline.run import RunRequest, run
from srrd_ray.storage.paths import parse_path


def main() -> int:
    cohort, out = (parse_path(Path(name)) for name in sys.argv[1:3])
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    started = time.monotonic()
    code = run(RunRequest(cohort=cohort, out=out, stages=small_stages(cohort)), RayExecutor)
    used = resource.getrusage(resource.RUSAGE_SELF)
    facts = {
        "code": code,
        "seconds": time.monotonic() - started,
        "cpu": used.ru_utime + used.ru_stime,
        "rss_mb": used.ru_maxrss / 1024,
    }
    print(json.dumps(facts))
    return code


if __name__ == "__main__":
    sys.exit(main())
