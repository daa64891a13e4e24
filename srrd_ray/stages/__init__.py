"""One knee (or one shard) at a time: records with paths in, records out.

The only code that joins storage and numerics.
"""
