"""Augmentation: operations that keep labels true. Prepared input: the filter bank."""
