"""The whole pipeline as a Ray job.

``ray job submit --working-dir . -- python jobs/full_pipeline.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
