"""Train MR to CT synthesis and synthesise every knee, after what it needs.

``ray job submit --working-dir . -- python jobs/synthesize.py --cohort … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["run", "--until", "synthesize", *sys.argv[1:]])
