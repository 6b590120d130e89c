"""Randomness derived per image, so that order, worker count and engine change nothing."""

import hashlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a generator that depends on `seed` and `names` (a key, a variant) alone."""
    return np.random.default_rng(digest_number(seed, *names))


def digest_number(seed: int, *names: str | int) -> int:
    """Return a 128-bit number, uniform over names, the same on every machine."""
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
