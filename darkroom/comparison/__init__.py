"""Two revisions of the pipeline: their predictions, what they share, and how they differ."""
