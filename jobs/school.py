"""Readers of MR and CT that learn on simulated knees, as a Ray job.

``ray job submit --working-dir . -- python jobs/school.py OUT --work …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["school", *sys.argv[1:]])
