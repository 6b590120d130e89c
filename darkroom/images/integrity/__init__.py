"""Whether a file holds its picture to the end: the structure of each format."""
