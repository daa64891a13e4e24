"""The pipeline on a cluster that grows and shrinks, and a picture of its nodes against the stages.

``python benchmarks/autoscaling.py --cohort COHORT --out FOLDER [--config run.yaml]`` starts a bare head (no
CPUs) with Ray's own autoscaler and its simulated nodes, each a real raylet on this machine, and runs ``srrd
run`` on it. Node types as in ``cluster.yaml``: `cpu-spot` before `cpu-on-demand`. Writes ``timeline.csv``,
``timeline.png`` and the log into FOLDER. The head needs port 6379, which the simulated provider has fixed.
Exit code: that of the run, or 3 where the cluster did not grow, or not shrink to its head again.
"""

from __future__ import annotations

import argparse
import csv
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import yaml
from watching import ENDED

HEAD, HEAD_TYPE = "FAKE_HEAD_NODE_ID", "ray.head.default"
"""As the simulated provider calls them."""
TYPES = {"cpu-spot": (1, 10), "cpu-on-demand": (1, 0)}
"""At most so many nodes, and the priority.
There is one spot node to be had, so that what needs more has to fall back.
"""
COLORS = {"cpu-spot": "#0b7a75", "cpu-on-demand": "#d1781f"}


def cluster(cpus: int, idle_minutes: float) -> dict[str, object]:
    """Return the configuration of a simulated cluster whose nodes have `cpus` CPUs."""
    kinds: dict[str, object] = {
        HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "min_workers": 0, "max_workers": 0}
    }
    for name, (most, priority) in TYPES.items():
        resources = {"CPU": cpus, "memory": 8 * 2**30, "object_store_memory": 150_000_000, name: 1}
        kinds[name] = {
            "resources": resources, "node_config": {}, "min_workers": 0, "max_workers": most,
            "priority": priority
        }  # fmt: skip
    provider = {
        "type": "external",
        "module": "simulated_nodes.SimulatedNodes",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": HEAD,
    }
    empty = ("setup_commands", "head_setup_commands", "worker_setup_commands", "head_start_ray_commands")
    empty += ("worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter")
    return {
        "cluster_name": "simulated",
        "max_workers": sum(most for most, _ in TYPES.values()),
        "idle_timeout_minutes": idle_minutes,
        "provider": provider,
        "available_node_types": kinds,
        "head_node_type": HEAD_TYPE,
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "initialization_commands": [],
        **{key: [] for key in empty},
    }


def environment() -> dict[str, str]:
    return {
        "RAY_FAKE_CLUSTER": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]
        ),
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def start_head(folder: Path, cpus: int, idle_minutes: float) -> subprocess.Popen[bytes]:
    config = folder / "cluster.yaml"
    config.write_text(yaml.safe_dump(cluster(cpus, idle_minutes)))
    command = [
        "ray",
        "start",
        "--head",
        "--block",
        "--port=6379",
        "--num-cpus=0",
        "--num-gpus=0",
        "--disable-usage-stats",
    ]
    command += [
        f"--autoscaling-config={config}",
        "--include-dashboard=false",
        f"--temp-dir={tempfile.mkdtemp()}",
    ]
    import ray  # here and below: it reads how to authenticate when it is imported

    with (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    for _ in range(60):
        time.sleep(1)
        try:
            ray.init(address="127.0.0.1:6379", logging_level="ERROR", log_to_driver=False)
        except Exception:  # it is not there yet
            continue
        return head
    raise SystemExit("the head did not start; see head.log")


def nodes() -> Counter[str]:
    """Return how many nodes of each type are alive."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Counter(name for resources in alive for name in TYPES if name in resources)


def watch(run: subprocess.Popen[str], log: Path, path: Path, patience_s: float) -> Counter[str]:
    """Write a row a second until the run has ended and its nodes are gone, or `patience_s` have passed since;
    return the last nodes.
    """
    start, over, seen = time.time(), 0.0, Counter[str]()
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["seconds", *TYPES, "ended"])
        while not over or (sum(seen.values()) and time.time() - over < patience_s):
            seen = nodes()
            at = round(time.time() - start, 1)
            table.writerow([at, *(seen[name] for name in TYPES), " ".join(ended(log))])
            file.flush()
            if not over and run.poll() is not None:
                over = time.time()
            time.sleep(1)
    return seen


def ended(log: Path) -> list[str]:
    """Return the stages that a log says have ended."""
    return [found[1] for line in log.read_text().splitlines() if (found := ENDED.match(line))]


def draw(path: Path, out: Path) -> None:
    with path.open() as file:
        rows = list(csv.DictReader(file))
    seconds = [float(row["seconds"]) for row in rows]
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(11, 5), sharex=True, height_ratios=[1, 1.6], layout="constrained"
    )
    levels = [[int(row[name]) for row in rows] for name in TYPES]
    top.stackplot(seconds, *levels, labels=list(TYPES), colors=[COLORS[name] for name in TYPES], step="post")
    top.set_ylabel("nodes beside the head")
    top.yaxis.get_major_locator().set_params(integer=True)
    top.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=len(TYPES))
    begin = 0.0
    for number, stage in enumerate(rows[-1]["ended"].split()):
        end = next(at for at, row in zip(seconds, rows, strict=True) if stage in row["ended"].split())
        bottom.barh(number, end - begin, left=begin, height=0.7, color="#4a5568")
        bottom.text(end + 0.005 * seconds[-1], number, stage, va="center", fontsize=8)
        begin = end
    bottom.set_yticks([])
    bottom.invert_yaxis()
    bottom.set_xlabel("seconds since the run began on a bare head")
    for axis in (top, bottom):
        axis.spines[["top", "right"]].set_visible(False)
    bottom.spines["left"].set_visible(False)
    figure.savefig(out, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohort", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config")
    parser.add_argument("--cpus", type=int, default=2, help="CPUs of a node")
    parser.add_argument("--idle-minutes", type=float, default=0.2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment())
    head = start_head(given.out, given.cpus, given.idle_minutes)
    command = ["srrd", "run", "--cohort", given.cohort, "--out", str(given.out / "run")]
    command += ["--config", given.config] if given.config else []
    log, timeline = given.out / "run.log", given.out / "timeline.csv"
    try:
        before = nodes()
        with log.open("w") as file:
            there = os.environ | {"RAY_ADDRESS": "127.0.0.1:6379"}
            run = subprocess.Popen(command, stderr=file, stdout=subprocess.DEVNULL, env=there, text=True)
        after = watch(run, log, timeline, patience_s=120 + 60 * given.idle_minutes)
    finally:
        os.killpg(head.pid, 15)
    draw(timeline, given.out / "timeline.png")
    most = max(sum(int(row[name]) for name in TYPES) for row in csv.DictReader(timeline.open()))
    print(
        f"nodes before {sum(before.values())}, at most {most}, after {sum(after.values())}; srrd run ended "
        f"with {run.returncode}"
    )
    return int(run.returncode or (0 if most and not sum(after.values()) else 3))


if __name__ == "__main__":
    sys.exit(main())
