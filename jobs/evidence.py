"""Ways to learn compared on simulated patients; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/evidence.py --out … --work … [--patients 80] [--shifted] [--readers …]``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.console import log_to_console
from srrd_ray.core.errors import SrrdError, exit_code
from srrd_ray.pipeline.evidence import EvidenceRequest, gather_evidence
from srrd_ray.pipeline.evidence_table import write_evidence


def main() -> int:
    request = tyro.cli(EvidenceRequest, description=__doc__)
    log_to_console()
    try:
        path = write_evidence(request, gather_evidence(request, RayExecutor(request.cluster)))
    except SrrdError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    sys.stdout.write(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
