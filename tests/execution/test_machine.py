"""CPUs and memory are those that the control groups of a process leave it, in both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from srrd_ray.execution.machine import usable_cpus, usable_memory

CPUS = len(os.sched_getaffinity(0))
GIB = 2**30


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The root of a system with 64 GiB of free memory and no control groups."""
    write(tmp_path, "proc/meminfo", f"MemTotal: 99999999 kB\nMemAvailable: {64 * 2**20} kB\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_limits_all_that_the_machine_has_is_usable(system: Path) -> None:
    assert (usable_cpus(system), usable_memory(system)) == (CPUS, 64 * GIB)


def test_a_quota_of_cpus_below_one_counts_and_none_does_not(system: Path) -> None:
    write(system, "proc/self/cgroup", "0::/job\n")
    write(system, "sys/fs/cgroup/job/cpu.max", "50000 100000\n")
    assert usable_cpus(system) == 0.5
    write(system, "sys/fs/cgroup/job/cpu.max", "max 100000\n")
    assert usable_cpus(system) == CPUS


def test_the_least_limit_of_a_group_and_those_above_it_counts(system: Path) -> None:
    write(system, "proc/self/cgroup", "0::/batch/job\n")
    write(system, "sys/fs/cgroup/batch/memory.max", f"{8 * GIB}\n")
    write(system, "sys/fs/cgroup/batch/memory.current", f"{3 * GIB}\n")
    write(system, "sys/fs/cgroup/batch/job/memory.max", "max\n")
    write(system, "sys/fs/cgroup/batch/job/memory.current", f"{2 * GIB}\n")
    assert usable_memory(system) == 5 * GIB
    write(system, "sys/fs/cgroup/batch/job/memory.max", f"{4 * GIB}\n")
    assert usable_memory(system) == 2 * GIB


def test_files_that_were_read_count_as_free(system: Path) -> None:
    write(system, "proc/self/cgroup", "0::/\n")
    write(system, "sys/fs/cgroup/memory.max", f"{8 * GIB}\n")
    write(system, "sys/fs/cgroup/memory.current", f"{7 * GIB}\n")
    write(system, "sys/fs/cgroup/memory.stat", f"anon {GIB}\ninactive_file {6 * GIB}\n")
    assert usable_memory(system) == 7 * GIB


def test_the_first_version_of_control_groups_is_read_too(system: Path) -> None:
    write(system, "proc/self/cgroup", "4:memory:/docker/a\n1:cpu,cpuacct:/docker/a\n0::/\n")
    write(system, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2 * GIB}\n")
    write(system, "sys/fs/cgroup/memory/memory.usage_in_bytes", f"{GIB}\n")
    write(system, "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us", "25000\n")
    write(system, "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us", "100000\n")
    assert (usable_cpus(system), usable_memory(system)) == (0.25, GIB)
    write(system, "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us", "-1\n")
    assert usable_cpus(system) == CPUS


def test_a_group_that_uses_more_than_its_limit_leaves_nothing(system: Path) -> None:
    write(system, "proc/self/cgroup", "0::/\n")
    write(system, "sys/fs/cgroup/memory.max", f"{GIB}\n")
    write(system, "sys/fs/cgroup/memory.current", f"{GIB + 1}\n")
    assert usable_memory(system) == 0


def test_a_system_that_does_not_say_is_told_from_one_without_memory(tmp_path: Path) -> None:
    assert usable_memory(tmp_path) is None


def test_of_this_machine_something_is_usable() -> None:
    assert 0 < usable_cpus() <= CPUS
    assert (usable_memory() or 0) > 0
