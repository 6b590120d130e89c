"""The library of the pipeline: from a pile of images to a clean data set and an evaluated model."""
