"""The operations of augmentation: how each draws its values, how far it goes, what it keeps true.

`augment.operations` names them, with or without a limit: `rotation`, or `{rotation: 25}`. The
defaults are chosen by us: small enough that a person would still give the same class. Drawn values
are rounded, so that their JSON makes the same image again.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from stages.lib.pixels import Pixels
from stages.transforms import appearance, geometry
from stages.transforms.settings import Setting

Values = dict[str, Any]  # what was drawn, by name: numbers that JSON keeps exactly
# From generator, limit, height and width of the image, and the way to fill.
Draw = Callable[[np.random.Generator, float, tuple[int, int], str], Values]


class Operation(NamedTuple):
    """How to draw values up to a limit, and what to do with them."""

    draw: Draw
    apply: Callable[..., Pixels]
    limit: Setting | None  # None: there is nothing to limit
    rating: bool = False  # whether a rating stays true; a class does so after all of them
    geometric: bool = False  # whether masks follow


def _nothing(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
    return {}


def _both_sides(name: str) -> Draw:
    """Draw from -limit to limit."""
    return lambda rng, limit, size, fill: {name: _real(rng, -limit, limit), "fill": fill}


def _factor(name: str, filled: bool = False) -> Draw:
    """Draw from 1/limit to limit, so that it is as often halved as doubled."""

    def draw(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
        value = round(float(limit ** rng.uniform(-1, 1)), 3)
        return {name: value, "fill": fill} if filled else {name: value}

    return draw


def _up_to(name: str, least: float, seeded: bool = False) -> Draw:
    """Draw from `least`, or the limit if that is lower, to the limit."""

    def draw(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
        values: Values = {name: _real(rng, min(least, limit), limit)}
        return values | {"seed": int(rng.integers(2**31))} if seeded else values

    return draw


def _down_to(name: str, most: float, seeded: bool = False) -> Draw:
    """Draw from the limit to `most`, or the limit if that is higher; whole numbers."""

    def draw(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
        values: Values = {name: int(rng.integers(int(limit), int(max(most, limit)) + 1))}
        return values | {"seed": int(rng.integers(2**31))} if seeded else values

    return draw


def _draw_crop(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
    values = {}
    for first, second, side in (("top", "bottom", size[0]), ("left", "right", size[1])):
        cut = int(rng.integers(0, int(side * limit) + 1))
        values[first] = int(rng.integers(0, cut + 1))
        values[second] = cut - values[first]
    return values


def _draw_shift(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
    down, right = (int(side * limit) for side in size)
    return {
        "down": int(rng.integers(-down, down + 1)),
        "right": int(rng.integers(-right, right + 1)),
        "fill": fill,
    }


def _real(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


# In the order in which a chain applies them: as in a camera, the scene first, then light, lens,
# sensor and file. A fixed order also means that different values give different images.
OPERATIONS: Mapping[str, Operation] = {
    "horizontal_flip": Operation(
        _nothing, geometry.horizontal_flip, None, rating=True, geometric=True
    ),
    "vertical_flip": Operation(_nothing, geometry.vertical_flip, None, geometric=True),
    # degrees, to either side
    "rotation": Operation(
        _both_sides("degrees"), geometry.rotation, Setting(0.1, 180.0, 20.0), geometric=True
    ),
    # horizontal pixels per vertical pixel, to either side
    "shear": Operation(
        _both_sides("factor"), geometry.shear, Setting(0.01, 1.0, 0.15), geometric=True
    ),
    # times as large, or as small
    "zoom": Operation(
        _factor("factor", filled=True), geometry.zoom, Setting(1.01, 4.0, 1.2), geometric=True
    ),
    # of the side, in each direction
    "shift": Operation(
        _draw_shift, geometry.shift, Setting(0.01, 0.5, 0.1), rating=True, geometric=True
    ),
    # of the side, from both of its ends together
    "crop": Operation(
        _draw_crop, geometry.crop, Setting(0.01, 0.5, 0.05), rating=True, geometric=True
    ),
    # times as much, or as little
    "brightness": Operation(_factor("gain"), appearance.brightness, Setting(1.01, 4.0, 1.25)),
    "contrast": Operation(_factor("gain"), appearance.contrast, Setting(1.01, 4.0, 1.25)),
    "colour": Operation(_factor("gain"), appearance.colour, Setting(1.01, 4.0, 1.5)),
    # standard deviation, in pixels
    "blur": Operation(_up_to("sigma_px", 0.3), appearance.blur, Setting(0.3, 10.0, 1.5)),
    # photons that make white: fewer give more noise
    "poisson": Operation(
        _down_to("photons", 1000, seeded=True), appearance.poisson, Setting(4, 1000, 100)
    ),
    # standard deviation, as a share of the value
    "speckle": Operation(
        _up_to("sigma", 0.01, seeded=True), appearance.speckle, Setting(0.01, 1.0, 0.08)
    ),
    # standard deviation, of 255
    "gaussian_noise": Operation(
        _up_to("sigma", 2.0, seeded=True), appearance.gaussian_noise, Setting(0.5, 100.0, 12.0)
    ),
    # share of the pixels
    "salt_and_pepper": Operation(
        _up_to("share", 0.002, seeded=True), appearance.salt_and_pepper, Setting(0.001, 0.5, 0.02)
    ),
    # lowest quality; the highest is 90
    "jpeg": Operation(_down_to("quality", 90), appearance.jpeg, Setting(1, 100, 50)),
}
