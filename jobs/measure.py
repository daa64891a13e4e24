"""Measure bone volumes.

``ray job submit --working-dir . -- python jobs/measure.py FOLDER --out results.parquet``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["measure", *sys.argv[1:]])
