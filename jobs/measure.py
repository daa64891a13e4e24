"""Measure the MR bone under every patch, after what it needs.

``ray job submit --working-dir . -- python jobs/measure.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", "--until", "measure", *sys.argv[1:]])
