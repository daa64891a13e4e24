"""A run over a small cohort with the acts of `small_acts`: ``python benchmarks/small_run.py COHORT OUT``;
last line: what it used.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path

from small_acts import SmallActs, learn_little

from srrd_ray.pipeline.run import run as pipeline
from srrd_ray.storage.paths import parse_path


def main() -> int:
    cohort, out = (parse_path(Path(name)) for name in sys.argv[1:3])
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    pipeline.Acts, pipeline.Pipeline._learnt = SmallActs, learn_little  # type: ignore[misc, method-assign]
    started = time.monotonic()
    code = pipeline.run(cohort, out, None, until="report", overwrite=False)
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
