"""Each stage for one knee or one shard: paths and records in, records out. Joins io and numerics; knows nothing of Ray."""
