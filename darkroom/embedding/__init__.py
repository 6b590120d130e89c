"""The copy-detection network: how it is fitted, and how it is read."""
