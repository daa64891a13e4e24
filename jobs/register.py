"""Align MR to CT bone by bone, after what it needs.

``ray job submit --working-dir . -- python jobs/register.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", "--until", "register", *sys.argv[1:]])
