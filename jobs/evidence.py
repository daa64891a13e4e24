"""Ways to learn compared on simulated patients; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/evidence.py --out … --work … [--patients 80] [--shifted] [--readers …]``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.console import ended_with
from srrd_ray.pipeline.evidence import EvidenceRequest, gather_evidence
from srrd_ray.pipeline.evidence_table import write_evidence


def main(request: EvidenceRequest) -> int:
    path = write_evidence(request, gather_evidence(request, RayExecutor(request.cluster)))
    sys.stdout.write(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    given = tyro.cli(EvidenceRequest, description=__doc__)
    sys.exit(ended_with(lambda: main(given)))
