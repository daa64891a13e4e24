"""Start the driver part of a job again and again on a cluster with several nodes on one machine, and count those that die.

``python benchmarks/starts.py 50 [--stay]`` submits as many jobs to the cluster at RAY_API_SERVER_ADDRESS, each with a working
directory that no node has seen, as the first job on a fresh cluster has: so every node unpacks it while the driver runs. A job joins
the cluster as a run does, makes one pass of Ray Data over all nodes, and uses torch for the first time. With ``--stay`` it does not
leave its working directory, for comparison. Exit code 0: none died. The cluster, where nothing else listens on these ports::

    export RAY_AUTH_MODE=token; ray get-auth-token --generate
    ray start --head --num-cpus 0
    ray start --address 127.0.0.1:6379 --num-cpus 1 --dashboard-agent-listen-port 52366
    ray start --address 127.0.0.1:6379 --num-cpus 1 --dashboard-agent-listen-port 52367
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[1]
LONGEST_S = 600
REACHED = "used torch"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("starts", type=int)
    parser.add_argument("--stay", action="store_true", help="do not leave the working directory")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="starts-") as folder:
        package = Path(folder) / "package"
        for part in ("srrd_ray", "storage_schemas"):
            shutil.copytree(ROOT / part, package / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(__file__, package / "starts.py")
        for number in range(given.starts):
            began = time.monotonic()
            end = _start(package, stay=given.stay)
            counts[end] += 1
            print(f"{number + 1:3d}  {time.monotonic() - began:5.1f} s  {end}", flush=True)
    print(*(f"{count:4d}  {end}" for end, count in counts.most_common()), sep="\n")
    return 0 if set(counts) == {REACHED} else 1


def _start(package: Path, *, stay: bool) -> str:
    """Return how one job ended: `REACHED`, or the line that tells what it died of."""
    (package / "new.txt").write_text(uuid4().hex)
    job = [sys.executable, "starts.py", "--drive", *(["--stay"] if stay else [])]
    command = [
        str(Path(sys.executable).with_name("ray")),
        "job",
        "submit",
        "--working-dir",
        str(package),
        "--",
        *job,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    told = [line for line in lines if line.startswith(REACHED) or "FATAL" in line or "Error" in line]
    return REACHED if done.returncode == 0 and REACHED in told else (told or ["no word"])[-1][:160]


def drive(*, stay: bool) -> None:
    """What a driver does first."""
    import ray.data

    from srrd_ray.cluster import session as joining
    from srrd_ray.execution.config import ClusterConfig

    if stay:
        vars(joining)["leave_copy"] = dict
    with joining.session(ClusterConfig()):
        rows = ray.data.range(8, override_num_blocks=8).map(_step, num_cpus=1).take_all()
        print(*sorted({f"{row['node'][:6]} works in {row['directory']}" for row in rows}), sep="\n")
        import torch

        square = torch.rand(300, 300)
        torch.linalg.inv(square @ square)
    print(REACHED)


def _step(_: dict[str, int]) -> dict[str, str]:
    import ray

    time.sleep(1.0)
    try:
        directory = str(Path.cwd())
    except FileNotFoundError:
        directory = "a folder that is gone"
    return {"node": ray.get_runtime_context().get_node_id(), "directory": directory}


if __name__ == "__main__":
    if "--drive" in sys.argv:
        drive(stay="--stay" in sys.argv)
    else:
        sys.exit(main())
