"""A support bundle: a zip file with what is needed to help with a run.

It is without patient data, names of machines and paths.
"""

from __future__ import annotations

import json
import os
import platform
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from srrd_ray import __version__
from srrd_ray.core import serial
from srrd_ray.core.arithmetic import here
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Fault, Knee, Outcome
from srrd_ray.core.scrub import Scrubber
from srrd_ray.pipeline.manifest import SCHEMA, Manifest
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.pipeline.status import RunFiles, RunStatus, read_files, read_status
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import ObjectPath, list_sizes, modified_times

KNOWN = frozenset(stage.name for stage in STAGES)
"""Names of stages that may be in a bundle."""
LOG_BYTES, LOG_LINES = 64 * 2**10, 200
TOPS = (
    "volumes",
    "patches",
    "tables",
    "models",
    "tune",
    ".state",
    ".training",
    "run.json",
    "metrics.json",
    "report.html",
)
ENDINGS = ("json", "parquet", "safetensors", "html", "csv", "pkl", "log", "pt")
KNEE = re.compile(r"sub-([A-Za-z0-9]+)_side-[LR]\.json")
VERSION = re.compile(r"\d{1,3}(\.\d{1,4}){0,3}((a|b|rc|\.post|\.dev)\d{1,4})?(\+cpu|\+cu\d{2,3})?")
WHAT = """What is needed to help with a run of SRRD-Ray. Read it before you send it.

run.json          configuration, times of the stages, one outcome a knee and stage
status.json       the output of `srrd status --json`
environment.json  versions, platform
files.json        files and bytes of the run by kind
log-N.txt         last lines of each *.log in the folder of the run

Participants have running numbers (n0001 ...), the same in all files. Words of messages and logs that are not
words of this software itself, numbers that could be dates or identifiers, paths, and the names of machines
are replaced by <word>, <number> and <path>. Of images, tables and models nothing is here but counts of files
and bytes.
"""


def write_bundle(layout: RunLayout, out: Path) -> Path:
    """Return `out`, the zip file that was written.

    Raises
    ------
    ConfigError
        `not-a-zip` where `out` does not end in .zip, `not-a-run` where the folder holds no run.
    """
    if out.suffix != ".zip":
        raise ConfigError(
            "not-a-zip", "the bundle is a zip file", got=out.suffix, expected=".zip", todo="Name it so."
        )
    status, files = read_status(layout), read_files(layout)
    manifest = files.manifest
    scrubber = Scrubber.for_participants(_participants(files))
    status = scrubbed_status(status, scrubber)
    members = {
        "README.txt": WHAT,
        "run.json": _text(_run_json(files, scrubber)),
        "status.json": serial.to_json(status),
        "environment.json": _text(_environment(manifest)),
        "files.json": _text(_files(layout.root)),
    }
    logs = sorted(path for path in layout.root.glob("*.log") if path.is_file())
    members |= {f"log-{n}.txt": "".join(_tail(path, scrubber)) for n, path in enumerate(logs, start=1)}
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in members.items():
            bundle.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return out


def scrubbed_status(status: RunStatus, scrubber: Scrubber) -> RunStatus:
    """Return the status without paths and machines, its knees under running numbers."""
    return replace(
        status,
        run="run",
        software=scrubber.scrub_text(status.software) if status.software != __version__ else __version__,
        owner=status.owner and replace(status.owner, host="<host>", pid=0, since=""),
        failed=tuple(_outcome(outcome, scrubber) for outcome in status.failed),
        report=status.report and "report.html",
    )


def _outcome(outcome: Outcome, scrubber: Scrubber) -> Outcome:
    knee, error = outcome.knee, outcome.error
    return replace(
        outcome,
        knee=knee and Knee(participant=scrubber.running_number(knee.participant), side=knee.side),
        stage=outcome.stage if outcome.stage in KNOWN else "<stage>",
        error=error
        and Fault(code=scrubber.scrub_code(error.code), message=scrubber.scrub_text(error.message)),
    )


def _participants(files: RunFiles) -> Iterator[str]:
    """Yield every participant that the run knows of, also where it has no manifest."""
    yield from (outcome.knee.participant for outcome in files.manifest.outcomes if outcome.knee)
    for name, _ in modified_times(files.layout.sidecar(files.names[0], "any").parent):
        match = KNEE.match(name)
        if match is not None:
            yield match[1]


def _run_json(files: RunFiles, scrubber: Scrubber) -> dict[str, object]:
    """Return the manifest as it may be sent.

    The hash of the cohort, from which small cohorts could be guessed, is zeros.
    """
    found = files.manifest
    return {
        "schema": SCHEMA,
        "software": _version(found.software),
        "python": _version(found.python),
        "libraries": {scrubber.scrub_text(name): _version(one) for name, one in found.libraries.items()},
        "arithmetic": _arithmetic(found, scrubber),
        "cohort": "0" * 64,
        "config": scrubber.scrub_data(found.config),
        "state": found.state,
        "exit_code": found.exit_code,
        "plan": [{"stage": one.stage, "scope": one.scope} for one in files.plan if one.stage in KNOWN],
        "stages": [
            {"stage": one.stage, "seconds": one.seconds} for one in found.stages if one.stage in KNOWN
        ],
        "outcomes": json.loads(serial.to_json([_outcome(one, scrubber) for one in found.outcomes])),
        "knees": found.knees,
        "until": found.until,
    }


def _arithmetic(manifest: Manifest, scrubber: Scrubber) -> dict[str, object]:
    """Return the arithmetic of the driver: plain where it equals that of this machine, else scrubbed."""
    found, current = (json.loads(serial.to_json(one)) for one in (manifest.arithmetic, here()))
    return {
        name: value if value == current[name] else scrubber.scrub_data(value) for name, value in found.items()
    }


def _environment(manifest: Manifest) -> dict[str, object]:
    """Return what this software runs on here; the machine's name is no part of it."""
    return {
        "srrd_ray": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "kernel": _version(platform.release()),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "arithmetic": json.loads(serial.to_json(here())),
        "libraries": {name: _installed(name) for name in _needed() or sorted(manifest.libraries)},
    }


def _needed() -> list[str]:
    """Return the libraries that this software requires; none where it runs from a clone, not installed."""
    try:
        wanted = requires("srrd-ray") or []
    except PackageNotFoundError:
        return []
    return sorted({re.split(r"[^A-Za-z0-9_.\-]", one)[0] for one in wanted if "extra ==" not in one})


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _version(text: str) -> str:
    """Return a version without suffix."""
    match = VERSION.match(text)
    return match[0] if match else ""


def _files(root: Path) -> list[dict[str, object]]:
    """Return how many files and bytes of each kind are in the run."""
    files: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    for child in root.iterdir():
        top = child.name if child.name in TOPS else "other"
        for name, size in _names_and_sizes(child):
            kind = top, _ending(name)
            files[kind] += 1
            total[kind] += size
    return [
        {"part": part, "ending": end, "files": n, "bytes": total[part, end]}
        for (part, end), n in sorted(files.items())
    ]


def _ending(name: str) -> str:
    """Return the ending of a file name where it is one of ours, else ``other`` or ``no ending``."""
    if "." not in name:
        return "no ending"
    ending = name.rpartition(".")[2]
    return ending if ending in ENDINGS else "other"


def _names_and_sizes(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the files of a run that may go on meanwhile: files that vanish are left out."""
    if isinstance(path, ObjectPath) or path.is_file():
        yield from ((name, size) for name, size, _ in list_sizes(path))
        return
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                yield name, (Path(folder) / name).stat().st_size


def _tail(path: Path, scrubber: Scrubber) -> Iterator[str]:
    """Yield the last lines of a log, scrubbed; the first may be part of one."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - LOG_BYTES, 0))
        lines = file.read(LOG_BYTES).decode("utf-8", errors="replace").splitlines()
    yield from (f"{scrubber.scrub_line(line)}\n" for line in lines[-LOG_LINES:])


def _text(data: object) -> str:
    return json.dumps(data, indent=2, sort_keys=True) + "\n"
