"""Filters of our own against plain loops over pixels, and the Ising denoising against the truth.

    python -m benchmarks.filters

The pictures come with scikit-image. Prints the time of both, their ratio, and whether the results
are equal; then the share of wrong pixels before and after denoising, over seeds.
"""

import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from skimage import data

from benchmarks import reference_filters
from darkroom.filters import filter_bank

SIDE_PX = 128  # a loop over more takes minutes
ROUNDS = 20
FLIPPED = 0.1
SEEDS = 20


def main() -> None:
    cv2.setNumThreads(1)
    grey = np.ascontiguousarray(data.camera()[100 : 100 + SIDE_PX, 180 : 180 + SIDE_PX])
    binary = cut(grey)
    print(f"{'filter':16} {'loop':>10} {'ours':>10} {'ratio':>8}  equal")
    for name, plane, settings in (
        ("conservative", grey, (3,)),
        ("crimmins", grey, (1,)),
        ("ising", binary, (1.0, FLIPPED, 20, 0)),
    ):
        slow, seconds_slow = timed(partial(getattr(reference_filters, name), plane, *settings), 1)
        fast, seconds = timed(partial(getattr(filter_bank, name), plane, *settings), ROUNDS)
        ratio = seconds_slow / seconds
        same = np.array_equal(slow, fast)
        print(f"{name:16} {seconds_slow:8.3f} s {1000 * seconds:7.2f} ms {ratio:7.0f}x  {same}")
    print(
        f"\nIsing denoising, {FLIPPED:.0%} of the pixels flipped, {SEEDS} seeds: wrong afterwards"
    )
    pictures = {"camera": cv2.medianBlur(cut(data.camera()), 5), "horse": cut(~data.horse() * 255)}
    for name, clean in pictures.items():
        wrong = [denoise(clean, seed) for seed in range(SEEDS)]
        print(f"{name:16} mean {np.mean(wrong):.3%}, worst {max(wrong):.3%}")


def cut(grey: np.ndarray) -> np.ndarray:
    """Return a picture of two values."""
    return np.where(grey > 110, 255, 0).astype(np.uint8)


def denoise(clean: np.ndarray, seed: int) -> float:
    """Return the share of pixels that are wrong after flipping some and denoising."""
    flipped = np.random.default_rng(seed).random(clean.shape) < FLIPPED
    noisy = np.where(flipped, 255 - clean, clean).astype(np.uint8)
    return float((filter_bank.ising(noisy, 1.0, FLIPPED, 20, seed) != clean).mean())


def timed(function: Callable[[], np.ndarray], rounds: int) -> tuple[np.ndarray, float]:
    """Return the result and the median of seconds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return result, float(np.median(seconds))


if __name__ == "__main__":
    main()
