"""The raw store: shards of original bytes, the index, the journal of a download."""
