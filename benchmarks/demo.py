"""Wall time and peak memory of a command by stage:
``python benchmarks/demo.py srrd run --cohort C --out RUN``.

Memory is the proportional set size (PSS) of the command, everything it started,
and every Ray process of this user, so that shared pages count once.
The stage is read off the log lines of the command.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from threading import Thread

from watching import ENDED, LINE, processes, pss_mb


def main() -> int:
    started = time.monotonic()
    command = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
    stage, peaks, seconds = "start", defaultdict(float), {}

    def read() -> None:
        nonlocal stage
        for line in command.stderr or ():
            sys.stderr.write(line)
            if (ended := ENDED.match(line)) is not None:
                seconds[ended[1]] = float(ended[2])
                stage = f"after {ended[1]}"
            elif (found := LINE.match(line)) is not None:
                stage = found[1]

    reader = Thread(target=read, daemon=True)
    reader.start()
    while command.poll() is None:
        peaks[stage] = max(peaks[stage], sum(pss_mb(pid) for pid in processes(command.pid)))
        time.sleep(1.0)
    reader.join()
    print(f"\n{'stage':<24} {'seconds':>8} {'peak MB':>8}")
    for name, peak in peaks.items():
        print(f"{name:<24} {seconds.get(name, 0.0):>8.1f} {peak:>8.0f}")
    print(f"{'all':<24} {time.monotonic() - started:>8.1f} {max(peaks.values()):>8.0f}")
    return command.returncode


if __name__ == "__main__":
    sys.exit(main())
