"""The filters of our own once more, one pixel at a time: tests and benchmarks compare with them."""

import numpy as np


def conservative(plane, size):
    half, height, width = size // 2, *plane.shape
    result = plane.copy()
    for y in range(height):
        for x in range(width):
            around = [
                plane[j, i]
                for j in range(max(0, y - half), min(height, y + half + 1))
                for i in range(max(0, x - half), min(width, x + half + 1))
                if (j, i) != (y, x)
            ]
            if around:
                result[y, x] = min(max(plane[y, x], min(around)), max(around))
    return result


def crimmins(plane, iterations):
    """Apply the eight rules as HIPR2 lists them, each over the whole picture."""
    dark = [
        lambda a, b, c: a >= b + 2, lambda a, b, c: a > b and b <= c,
        lambda a, b, c: c > b and b <= a, lambda a, b, c: c >= b + 2,
    ]  # fmt: skip
    light = [
        lambda a, b, c: a <= b - 2, lambda a, b, c: a < b and b >= c,
        lambda a, b, c: c < b and b >= a, lambda a, b, c: c <= b - 2,
    ]  # fmt: skip
    now = plane.astype(int)
    height, width = plane.shape
    for _ in range(iterations):
        for rules, step in ((dark, 1), (light, -1)):
            for dy, dx in ((1, 0), (0, 1), (1, 1), (1, -1)):
                for rule in rules:
                    before = now.copy()
                    for y in range(dy, height - dy):
                        for x in range(abs(dx), width - abs(dx)):
                            if rule(before[y - dy, x - dx], before[y, x], before[y + dy, x + dx]):
                                now[y, x] += step
    return now


def ising(plane, coupling, flipped, sweeps, seed):
    """Sample with the same draws, one pixel at a time."""
    y = np.where(plane > 127, 1.0, -1.0)
    height, width = y.shape
    x, total = y.copy(), np.zeros_like(y)
    field = 0.5 * np.log((1 - flipped) / flipped)
    rng = np.random.default_rng(seed)
    for sweep in range(sweeps):
        for colour in (0, 1):
            draws = rng.random(plane.shape, np.float32) * 2 - 1
            for j in range(height):
                for i in range(width):
                    if (j + i) % 2 != colour:
                        continue
                    pull = sum(
                        x[j + dj, i + di]
                        for dj, di in ((-1, 0), (1, 0), (0, -1), (0, 1))
                        if 0 <= j + dj < height and 0 <= i + di < width
                    )
                    mean = np.tanh(coupling * pull + field * y[j, i])
                    x[j, i] = 1 if draws[j, i] < mean else -1
                    total[j, i] += mean if 2 * sweep >= sweeps else 0
    return np.where(total > 0, 255, 0)
