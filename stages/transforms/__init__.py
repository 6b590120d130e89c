"""Augmentation operations and filters."""
