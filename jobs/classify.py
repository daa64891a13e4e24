"""Classify osteoarthritis, after what it needs.

``ray job submit --working-dir . -- python jobs/classify.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", "--until", "classify", *sys.argv[1:]])
