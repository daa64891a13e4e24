"""One knee, or one shard: paths and records in, records out. The only ring that joins io and numerics."""
