"""Search, verification and grouping of near-duplicates."""
