"""Commands about a run: its configuration, the run itself, its report and status, help with it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import tyro

from srrd_ray.commands.places import given_place
from srrd_ray.storage.paths import parse_path


def config(file: tyro.conf.Positional[Path | None] = None, /) -> int:
    """Print every setting of a run with its default, what it means and what is allowed; or check a file.

    What it prints is a configuration itself. Of a file it prints what differs from the defaults; it ends with
    2 where a key or a value is not allowed, and names it.

    Args:
        file: YAML file of a run, to check.
    """
    from srrd_ray.pipeline.configuration import read_config
    from srrd_ray.pipeline.configuration_text import commented_yaml, differences

    given = read_config(given_place(file))
    sys.stdout.write(commented_yaml(given) if file is None else differences(given))
    return 0


def run(
    *,
    cohort: Path,
    out: Path,
    config: Path | None = None,
    until: str = "report",
    overwrite: bool = False,
    verify: bool = False,
    pseudonym_key: Path | None = None,
    dry_run: bool = False,
) -> int:
    """Run the whole pipeline; the same command again resumes.

    Args:
        cohort: folder of the cohort.
        out: folder of the run, on storage that every node sees.
        config: YAML file of the run; absent keys keep their defaults.
        until: the last stage to run.
        overwrite: go on in a folder that holds a run of another configuration.
        pseudonym_key: file with a secret of at least 16 bytes; participants then have other names in all that
            is written.
        verify: read every byte of what is finished, and redo what was altered or torn since.
        dry_run: print what would be done, and why what is done would be redone; nothing is run or written.
    """
    from srrd_ray.pipeline.supervised_run import RunCommand, supervised

    command = RunCommand(
        cohort=str(cohort), out=str(out), config=_text(config), until=until, overwrite=overwrite,
        verify=verify, pseudonym_key=_text(pseudonym_key), log_level=logging.getLogger("srrd_ray").level,
    )  # fmt: skip
    if dry_run:
        from srrd_ray.pipeline.plan import print_plan

        return print_plan(command.request())
    return supervised(command)


def report(run: tyro.conf.Positional[Path], /) -> int:
    """Rebuild the report of a run from its tables.

    Args:
        run: folder of the run.
    """
    from srrd_ray.pipeline.current import read_outputs_of_run
    from srrd_ray.stages.shared.run_page import build_report
    from srrd_ray.storage.layout import RunLayout

    sys.stdout.write(f"{build_report(read_outputs_of_run(RunLayout(root=parse_path(run))))[0]}\n")
    return 0


def status(run: tyro.conf.Positional[Path], /, *, json: bool = False) -> int:
    """Print the status of a run, from its files alone; nothing is written and no cluster is needed.

    Ends with 0 while the run goes on, with 3 where it was interrupted or stopped by cluster or storage, else
    as the run itself did: 0 all done, 1 some knee failed, 2 refused. Also 2 where the folder holds no run.

    Args:
        run: folder of the run.
        json: print all of it as JSON.
    """
    from srrd_ray.core import serial
    from srrd_ray.pipeline.status import read_status
    from srrd_ray.pipeline.status_text import text_of
    from srrd_ray.storage.layout import RunLayout

    found = read_status(RunLayout(root=parse_path(run)))
    sys.stdout.write(serial.to_json(found) if json else text_of(found))
    return found.command_code


def doctor(*, cohort: Path | None = None, out: Path | None = None, config: Path | None = None) -> int:
    """Tell what of this machine, and of the places of a run, would stop or slow it, and what to do.

    A line a check: OK, WARN (it goes on, with less) or FAIL. Ends with 0, or with 3 where a check is FAIL.
    Nothing is left behind, and nothing but a place on s3:// is looked for in the network.

    Args:
        cohort: folder of a cohort: whether it can be reached and read.
        out: folder of a run to be: whether it can be written, and whether locks hold there.
        config: YAML file of the run, for the CPUs, memory and GPUs that it asks for.
    """
    from srrd_ray.cluster.doctor import Examination, print_checks
    from srrd_ray.pipeline.configuration import read_config

    cluster = read_config(given_place(config)).cluster
    return print_checks(Examination(cluster=cluster, cohort=given_place(cohort), out=given_place(out)))


def support(run: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], /) -> int:
    """Write what is needed to help with a run, without patient data, into a zip file.

    Read it before you send it.

    Args:
        run: folder of the run.
        out: the zip file.
    """
    from srrd_ray.pipeline.support_bundle import write_bundle
    from srrd_ray.storage.layout import RunLayout

    sys.stdout.write(f"{write_bundle(RunLayout(root=parse_path(run)), parse_path(out))}\n")
    return 0


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
