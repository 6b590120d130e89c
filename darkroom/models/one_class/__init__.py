"""Models that know one class: outlier scores, and how they are fitted."""
