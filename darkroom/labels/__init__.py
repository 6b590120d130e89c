"""Labels of an image: what its records agree on, official splits, the normal class."""
