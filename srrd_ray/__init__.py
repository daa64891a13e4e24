"""SRRD-Ray: subchondral bone microstructure from knee CT, learned from MR (arXiv 2307.04390),
distributed on Ray.
"""

__version__ = "0.2.0"
