"""How a command ends when the system, a library or the user says no."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from srrd_ray.core.console import end_command, to_own_error
from srrd_ray.core.errors import StoreError, exit_code

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, signal, sys
from srrd_ray.core.console import end_command
def command():
    {body}
    return 0
sys.exit(end_command(command))
"""


def ended(body: str, redirect: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    program = ["bash", "-c", f'"$0" -c "$1" {redirect}', sys.executable, PROGRAM.format(body=body)]
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **variables}
    return subprocess.run(program, capture_output=True, env=env, check=False, timeout=60)


@pytest.mark.parametrize(
    ("redirect", "code", "said"),
    [
        ("| true; exit ${PIPESTATUS[0]}", 141, ""),
        (">/dev/full", 3, "[output-full]"),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
    ],
)
def test_an_output_that_is_closed_or_full_leaves_no_traceback(redirect: str, code: int, said: str) -> None:
    found = ended("sys.stdout.write('x' * 200000)", redirect)
    assert found.returncode == code
    assert said.encode() in found.stderr
    assert b"Traceback" not in found.stderr
    assert b"Exception ignored" not in found.stderr


def test_a_terminal_without_the_letters_gets_escapes_that_json_knows() -> None:
    text = json.dumps({"a": "mm² µ 𝛼 \udcff"}, ensure_ascii=False)
    found = ended(f"sys.stdout.write({text!r})", PYTHONIOENCODING="ascii")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {"a": "mm² µ 𝛼 \udcff"}


def test_a_name_of_two_lines_is_said_in_one() -> None:
    found = ended(
        "from srrd_ray.core.errors import InputError; raise InputError('a', 'b', where='two\\nlines.nii')"
    )
    assert found.returncode == 1
    assert found.stderr == b"srrd: [a] b in two\\nlines.nii\n"


def test_ctrl_c_ends_with_130_in_one_line() -> None:
    interrupt = (
        "signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT)"
    )
    found = ended(interrupt)
    assert (found.returncode, found.stderr) == (128 + signal.SIGINT, b"srrd: interrupted\n")


@pytest.mark.parametrize(
    ("error", "code", "ends"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/knee.nii"), "access-denied", 3),
        (OSError(errno.ENOSPC, "No space left on device"), "output-full", 3),
        (OSError(errno.EMFILE, "Too many open files", "/a/b"), "system-limit", 3),
        (OSError(errno.EIO, "Input/output error", b"/a/b"), "system-error", 3),
        (MemoryError(), "memory-exhausted", 3),
        (ZeroDivisionError("by zero"), "unexpected-ZeroDivisionError", 1),
        (StoreError("store-torn", "torn"), "store-torn", 3),
    ],
)
def test_every_exception_becomes_an_error_with_a_code_and_what_to_do(
    error: Exception, code: str, ends: int
) -> None:
    found = to_own_error(error)
    assert (found.code, exit_code(found)) == (code, ends)
    assert found is error or found.todo


def test_what_stopped_a_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "/secret/place/knee.nii")

    assert end_command(command) == 3
    said = capsys.readouterr().err
    assert said.startswith("srrd: [access-denied] the system refuses access in knee.nii")
    assert "secret" not in said
