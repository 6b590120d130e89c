"""What every stage stands on: parameters, errors, files, tables, shards, progress, randomness."""
