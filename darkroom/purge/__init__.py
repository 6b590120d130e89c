"""Takedown requests: images go for good, from the store, from caches, and never come back."""
