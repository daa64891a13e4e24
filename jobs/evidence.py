"""Ways to learn compared on one simulated cohort; the same command again goes on where it stopped.

``ray job submit --working-dir . -- python jobs/evidence.py --cohort … --run … --out … --readers …``
"""

import sys

import tyro

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.errors import SrrdError, exit_code
from srrd_ray.pipeline.evidence import EvidenceRequest, gather_evidence


def main() -> int:
    request = tyro.cli(EvidenceRequest, description=__doc__)
    try:
        code = gather_evidence(request, RayExecutor)
    except SrrdError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    sys.stdout.write((request.out / "evidence.md").read_text(encoding="utf-8"))
    return code


if __name__ == "__main__":
    sys.exit(main())
