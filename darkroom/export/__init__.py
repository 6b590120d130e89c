"""The finished data set for other tools."""
