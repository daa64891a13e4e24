"""Carries out the commands of the tutorial as they stand, in a new folder.

``python docs/run_tutorial.py FOLDER``; the installation apart, which has to be there. Ends with 1 where a command
ends otherwise than the tutorial says: with 0, or with the code in its comment (`exit code 1`).
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).parent
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
INSTALLATION = ("make install", "source ")


def commands(text: str) -> list[str]:
    """Return the lines of the blocks of a document, the installation apart."""
    lines = "".join(BLOCK.findall(text)).splitlines()
    return [line for line in lines if not line.startswith(INSTALLATION)]


def allowed(line: str) -> set[int]:
    """Return the exit codes that a command may end with.

    >>> sorted(allowed("srrd run --cohort c --out r   # exit code 0 or 1: …")), allowed("srrd --help")
    ([0, 1], {0})
    """
    said = re.search(r"#.*exit code (\d)(?: or (\d))?", line)
    return {int(code) for code in said.groups() if code} if said else {0}


def main(folder: Path) -> int:
    """Return 0 where every command ended as it should."""
    folder.mkdir(parents=True)
    for line in commands((DOCS / "tutorial.md").read_text(encoding="utf-8")):
        sys.stderr.write(f"$ {line}\n")
        started = time.monotonic()
        code = subprocess.run(["bash", "-c", line], cwd=folder, check=False).returncode  # noqa: S603, S607 - of ours
        sys.stderr.write(f"exit code {code}, {time.monotonic() - started:.0f} s\n")
        if code not in allowed(line):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
