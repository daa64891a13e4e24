"""The command line: what it prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from srrd_ray import __version__
from srrd_ray.cli import main
from srrd_ray.core.console import ended_with
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.pipeline.run import RunRequest
from srrd_ray.pipeline.run import run as run_pipeline
from srrd_ray.storage.paths import parse_path
from tests.imaging import makers
from tests.running import run

COMMANDS = (
    *("simulate", "new-cohort", "check", "config", "run", "measure", "infer", "model", "report", "status"),
    *("fetch", "doctor", "support"),
)
PARTICIPANTS = "participant_id\tage\tsex\n001\t60\tF\n"
KNEES = "participant_id\tside\tkl_grade\toa\n001\tR\t1\t0\n"


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def code_of_run(cohort: Path, out: Path, config: Path | None = None) -> int:
    """Return the exit code of `srrd run`, driven in this process and not in a child."""
    return ended_with(lambda: run(parse_path(cohort), out, config))


def cohort(root: Path, participants: str = PARTICIPANTS, knees: str = KNEES) -> Path:
    (root / "sub-001" / "ct").mkdir(parents=True)
    (root / "sub-001" / "ct" / "sub-001_side-R_ct.nii.gz").write_bytes(b"")
    (root / "participants.tsv").write_text(participants)
    (root / "knees.tsv").write_text(knees)
    return root


def test_a_wrong_flag_is_a_usage_error() -> None:
    assert code_of("run", "--cohrt", "x", "--out", "y") == 2


@pytest.mark.parametrize(
    ("word", "hint"), [("rum", "Did you mean srrd run?"), ("xyzzy", "srrd --help lists the commands.")]
)
def test_a_command_that_is_none_is_a_usage_error_with_the_nearest(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(word) == 2
    assert f"[command-unknown] srrd has no such command: got {word}. {hint}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["https://name:secret@pacs.example/rs/studies/1.2"], ["studies"]])
def test_fetch_wants_an_address_that_holds_no_login(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("fetch", *words, "--out", str(tmp_path / "out")) == 2
    assert "secret" not in capsys.readouterr().err


def test_help_offers_no_value_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("measure", "--help") == 0
    shown = capsys.readouterr().out
    assert "--bone {femur,tibia}" in shown
    assert "{None" not in shown


def test_a_missing_cohort_stops_a_run_and_the_child_that_drives_it_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("run", "--cohort", str(tmp_path / "none"), "--out", str(tmp_path / "out")) == 2
    assert "Give the cohort's folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_inside_its_cohort_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = cohort(tmp_path / "cohort")
    assert code_of_run(root, root / "run") == 2
    assert "output-in-input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("distilation:\n  folds: 2\n", "Did you mean 'distillation'?"),
        ("seed: !!python/object/apply:os.getcwd []\n", "tags such as !!python are refused"),
        ("seed: many\n", "seed: many, expected a whole number, 0 or more"),
    ],
)
def test_a_wrong_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    root = cohort(tmp_path / "cohort")
    assert code_of_run(root, tmp_path / "out", config) == 2
    assert words in capsys.readouterr().err


def test_check_ends_with_one_where_a_knee_has_a_fault_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = cohort(tmp_path / "cohort")
    before = sorted(root.rglob("*"))
    assert code_of("check", str(root)) == 1
    assert "001 R" in capsys.readouterr().out
    assert sorted(root.rglob("*")) == before


def test_a_cohort_that_is_not_there_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("check", str(tmp_path / "none")) == 2
    assert "[cohort-missing] no such folder in none" in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "srrd_ray.cli", "--help"], capture_output=True, text=True, check=True
    )
    for name in COMMANDS:
        assert name in ended.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("infer", "--ct", "nowhere.nii.gz", "--out", "out"), 1, "srrd: [image-missing]"),
        (("-q", "infer", "--ct", "nowhere.nii.gz", "--out", "out"), 1, "srrd: [image-missing]"),
        (("simulate", "--help"), 0, ""),
        (("measure", "--nope"), 2, "Missing argument"),
    ],
)
def test_a_command_with_a_parent_ends_as_it_would_alone(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "srrd_ray.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ended.returncode == code
    assert ended.stderr.count(said) == 1 or not said
    assert "driver-died" not in ended.stderr


def test_the_version_is_one_line_and_nothing_heavy_is_loaded_for_it_or_for_help() -> None:
    code = (
        "import sys, atexit; from srrd_ray.cli import main; "
        "atexit.register(lambda: sys.stderr.write(str([m for m in sys.argv[2:] if m in sys.modules]))); "
        "main(sys.argv[1:2])"
    )
    heavy = ["numpy", "numba", "torch", "ray", "pydantic", "scipy"]
    for flag, start in (("--version", f"srrd-ray {__version__}\n"), ("--help", "usage: srrd")):
        ended = subprocess.run(
            [sys.executable, "-c", code, flag, *heavy], capture_output=True, text=True, check=True
        )
        assert ended.stdout.startswith(start)
        assert ended.stderr == "[]"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        (["check", "COHORT"], logging.INFO),
        (["-v", "check", "COHORT"], logging.DEBUG),
        (["check", "--quiet", "COHORT"], logging.WARNING),
        (["-v", "check", "COHORT", "-q"], logging.WARNING),
    ],
)
def test_more_or_less_is_logged_wherever_the_option_stands(
    tmp_path: Path, arguments: list[str], level: int
) -> None:
    root = cohort(tmp_path / "cohort")
    assert code_of(*(str(root) if word == "COHORT" else word for word in arguments)) == 1
    assert logging.getLogger("srrd_ray").level == level


@pytest.mark.slow
def test_the_child_that_drives_a_run_logs_as_much_as_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = makers.cohort(tmp_path / "cohort", people=("A1",))
    request = RunRequest(cohort=root, out=tmp_path / "run", until="ingest")
    assert run_pipeline(request, lambda _: PlainLoop()) == 0
    command = ("run", "--cohort", str(root), "--out", str(request.out), "--until", "ingest")
    capsys.readouterr()
    assert code_of(*command, "-q") == 0
    assert capsys.readouterr().err == ""
    assert code_of("-v", *command) == 0
    assert "sub-A1_side-L  skipped" in capsys.readouterr().err


def test_a_configuration_is_printed_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.yaml"
    assert code_of("config") == 0
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert code_of("config", str(path)) == 0
    assert capsys.readouterr().out == "nothing differs from the defaults\n"
    path.write_text("tune: {trials: 0}\ncluster: {cpus: -1}\n")
    assert code_of("config", str(path)) == 2
    shown = capsys.readouterr()
    assert "tune.trials: 0, expected 1 or more; cluster.cpus: -1, expected 0 or more" in shown.err
    assert shown.out == ""
    assert code_of("config", str(tmp_path / "none.yaml")) == 2


def test_the_completion_of_a_shell_knows_every_command_and_is_valid(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert code_of("--tyro-print-completion", "bash") == 0
    script = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in script] == []
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    "job", sorted((Path(__file__).resolve().parents[1] / "jobs").glob("*.py")), ids=lambda p: p.stem
)
def test_every_job_parses_its_arguments(job: Path) -> None:
    ended = subprocess.run([sys.executable, str(job), "--help"], capture_output=True, text=True, cwd=job.parents[1], check=False,
                           env={"PYTHONPATH": str(job.parents[1]), "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "usage:" in ended.stdout
