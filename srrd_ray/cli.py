"""`srrd`: one subcommand a job. Exit codes: 0 all done, 1 some knee failed, 2 usage, 3 cluster or storage."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import tyro

from srrd_ray import __version__
from srrd_ray.commands import cohorts, images, models, runs, school
from srrd_ray.core.console import INTERRUPTED, ended_with
from srrd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from srrd_ray.pipeline.supervised_run import RunCommand

COMMANDS: Final[Mapping[str, Callable[..., int]]] = {
    "simulate": cohorts.simulate,
    "new-cohort": cohorts.new_cohort,
    "check": cohorts.check,
    "school": school.school,
    "config": runs.config,
    "run": runs.run,
    "measure": images.measure,
    "infer": images.infer,
    "fetch": images.fetch,
    "model show": models.show,
    "model verify": models.verify,
    "model export": models.export,
    "report": runs.report,
    "status": runs.status,
    "doctor": runs.doctor,
    "support": runs.support,
}
"""By name, as the help lists them; those of two words are of a group."""
GROUPS: Final = {"model": "Show, verify or share a trained model."}
OPTIONS = """With any command: -v, --verbose logs more, -q, --quiet only warnings and errors.
srrd --version prints the version."""
SUPERVISED: Final = frozenset({"simulate", "school", "measure", "infer"})
"""Commands that a child carries out, as `run` has it: its parent tells what ended it without a word."""
WORK: Final = "from srrd_ray.cli import work; work()"
LEVELS = {"-v": logging.DEBUG, "--verbose": logging.DEBUG, "-q": logging.WARNING, "--quiet": logging.WARNING}


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand and exit with its code."""
    if arguments is None and len(sys.argv) > 1 and sys.argv[1] in SUPERVISED:
        sys.exit(ended_with(lambda: _supervised(sys.argv[1:])))
    sys.exit(_ended(sys.argv[1:] if arguments is None else arguments))


def work() -> None:
    """Carry out a command in this process, the child of `srrd`, and exit with its code."""
    from srrd_ray.execution.supervision import leashed

    say_code = leashed()
    try:
        code = _ended(sys.argv[2:])
    except SystemExit as end:  # help, and what is wrong with the words themselves
        code = end.code if isinstance(end.code, int) else 0
    if code != INTERRUPTED:  # ended by a signal: the parent says so
        say_code(code)
    sys.exit(code)


def _supervised(arguments: list[str]) -> int:
    from srrd_ray.pipeline.supervised_run import watched

    return watched(None, WORK, *arguments)


def _ended(given: list[str]) -> int:
    levels = [LEVELS[word] for word in given if word in LEVELS]
    rest = [word for word in given if word not in LEVELS]
    return ended_with(lambda: _run_command(rest), levels[-1] if levels else logging.INFO)


def _run_command(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stdout.write(f"srrd-ray {__version__}\n")
        return 0
    if arguments and not arguments[0].startswith("-"):
        _require_known(arguments[0])
    code: int = _app().cli(args=arguments, prog="srrd", description=OPTIONS, config=(tyro.conf.DisallowNone,))
    return code


def _require_known(word: str) -> None:
    known = {name.split()[0] for name in COMMANDS}
    if word in known:
        return
    close = get_close_matches(word, sorted(known), n=1)
    raise ConfigError(
        "command-unknown", "srrd has no such command", got=word,
        todo=f"Did you mean srrd {close[0]}?" if close else "srrd --help lists the commands.",
    )  # fmt: skip


def _app() -> tyro.extras.SubcommandApp:
    app = tyro.extras.SubcommandApp()
    apps = {"": app}
    for name, command in COMMANDS.items():
        group, _, own = name.rpartition(" ")
        if group not in apps:
            apps[group] = app.command(tyro.extras.SubcommandApp(), name=group, help=GROUPS[group])
        apps[group].command(name=own)(command)
    return app


def drive() -> None:
    """Drive a run in this process, the child of `srrd run`, and exit with its code."""
    from srrd_ray.execution.supervision import leashed
    from srrd_ray.pipeline.supervised_run import RunCommand

    say_code = leashed()
    command = RunCommand.from_json(sys.argv[2])
    code = ended_with(lambda: _drive(command), command.log_level)
    if code != INTERRUPTED:  # ended by a signal: the parent says so
        say_code(code)
    sys.exit(code)


def _drive(command: RunCommand) -> int:
    from srrd_ray.cluster.executor import RayExecutor
    from srrd_ray.pipeline.run import run as run_pipeline

    return run_pipeline(command.request(), RayExecutor)


if __name__ == "__main__":
    main()
