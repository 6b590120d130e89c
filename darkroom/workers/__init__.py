"""One function over many shards, in worker processes."""
