"""One function over many shards, in worker processes; a hung or crashed one costs one image."""
