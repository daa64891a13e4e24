"""Read the cohort into OME-Zarr volumes.

``ray job submit --working-dir . -- python jobs/ingest.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", "--until", "ingest", *sys.argv[1:]])
