"""Write a simulated paired cohort.

``ray job submit --working-dir . -- python jobs/simulate.py OUT --knees 90 --profile paper``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["simulate", *sys.argv[1:]])
