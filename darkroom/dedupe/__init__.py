"""Near-duplicates: search, verification, grouping, and which image represents a group."""
