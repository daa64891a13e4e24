"""Train teacher and students, after what they need.

``ray job submit --working-dir . -- python jobs/distill.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", "--until", "distil", *sys.argv[1:]])
