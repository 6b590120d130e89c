"""Labels of an image: for which task, what its records agree on, votes, decisions, splits."""
