"""The working directory of a job, which Ray may take away under the processes that stand in it.

When the first worker of a job starts on a node, that node unpacks what ``ray job submit --working-dir`` sent,
and first removes what lies at that place. Nodes on one machine share the place: the driver, and the workers
of the other nodes, are then left in a directory that is gone. oneMKL, which is part of torch, ends a process
that it finds there with status 2 and the words ``Cannot load …/libtorch_cpu.so``. So nobody stays: what is
imported is found by its absolute path.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

COPIES = "working_dir_files"
"""Folder of Ray's below which a node keeps its copies of working directories."""
LASTING = "/"


def works_in_copy() -> bool:
    """Return whether the working directory of this process is a copy that Ray made, or gone already."""
    try:
        return COPIES in Path.cwd().parts
    except FileNotFoundError:
        return True


def leave_copy() -> dict[str, Callable[[], None]]:
    """Return the runtime environment of a job whose workers leave their copy as they start.

    This process leaves its own copy first. The environment is empty where this process does not
    work in a copy: its working directory then stays what it is.
    """
    if not works_in_copy():
        return {}
    os.chdir(LASTING)
    return {"worker_process_setup_hook": _leaving(LASTING)}


def _leaving(lasting: str) -> Callable[[], None]:
    """Return a function that travels by value, as a function defined inside another does.

    A worker then imports nothing from the copy to leave it.
    """

    def leave() -> None:
        os.chdir(lasting)

    return leave
