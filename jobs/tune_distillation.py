"""Search temperature and loss weights, after what it needs.

``ray job submit --working-dir . -- python jobs/tune_distillation.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", "--until", "tune", *sys.argv[1:]])
