"""Read one knee from CT alone.

``ray job submit --working-dir . -- python jobs/infer.py --model … --ct … --out …``
"""

import sys

from srrd_ray.cli import main

if __name__ == "__main__":
    main(["infer", *sys.argv[1:]])
