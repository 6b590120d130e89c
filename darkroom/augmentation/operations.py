"""The operations of augmentation: how each draws its values, how far it goes, what it keeps true.

`augment.operations` names them, with or without a limit: `rotation`, or `{rotation: 25}`. The
defaults are chosen by us: small enough that a person would still give the same class. Drawn values
are rounded, so that their JSON makes the same image again.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from darkroom.augmentation import appearance, geometry
from darkroom.filters.settings import Setting
from darkroom.images.decode import Pixels

Values = dict[str, Any]  # what was drawn, by name: numbers that JSON keeps exactly
# From generator, limit, height and width of the image, and the way to fill.
Draw = Callable[[np.random.Generator, float, tuple[int, int], str], Values]
# The same at a share of the limit, 0 to 1, to show how strong it is.
At = Callable[[float, float, tuple[int, int], str], Values]


class Range(NamedTuple):
    """How the values of an operation are drawn, and what they are at a share of the limit."""

    draw: Draw
    at: At


class Operation(NamedTuple):
    """Which values there are up to a limit, and what to do with them."""

    values: Range
    apply: Callable[..., Pixels]
    limit: Setting | None  # None: there is nothing to limit
    rating: bool = False  # whether a rating stays true; a class does so after all of them


_NOTHING = Range(lambda rng, limit, size, fill: {}, lambda share, limit, size, fill: {})


def _both_sides(name: str) -> Range:
    """From -limit to limit."""
    return Range(
        lambda rng, limit, size, fill: {name: _real(rng, -limit, limit), "fill": fill},
        lambda share, limit, size, fill: {name: round(share * limit, 3), "fill": fill},
    )


def _factor(name: str, filled: bool = False) -> Range:
    """From 1/limit to limit, so that it is as often halved as doubled."""

    def value(power: float, limit: float, fill: str) -> Values:
        value = round(float(limit**power), 3)
        return {name: value, "fill": fill} if filled else {name: value}

    return Range(
        lambda rng, limit, size, fill: value(rng.uniform(-1, 1), limit, fill),
        lambda share, limit, size, fill: value(share, limit, fill),
    )


def _up_to(name: str, least: float) -> Range:
    """From `least`, or the limit if that is lower, to the limit."""
    return Range(
        lambda rng, limit, size, fill: {name: _real(rng, min(least, limit), limit)},
        lambda share, limit, size, fill: {name: round(share * limit, 3)},
    )


def _down_to(name: str, most: int) -> Range:
    """From the limit to `most`, or the limit if that is higher; whole numbers."""

    def at(share: float, limit: float, size: tuple[int, int], fill: str) -> Values:
        return {name: round(max(most, limit) * (limit / max(most, limit)) ** share)}

    return Range(
        lambda rng, limit, size, fill: {
            name: int(rng.integers(int(limit), int(max(most, limit)) + 1))
        },
        at,
    )


def _seeded(values: Range) -> Range:
    """With the seed of the noise."""
    return Range(
        lambda rng, *given: values.draw(rng, *given) | {"seed": int(rng.integers(2**31))},
        lambda *given: values.at(*given) | {"seed": 0},
    )


def _crop() -> Range:
    """Up to a share of the side, from both of its ends together."""

    def draw(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
        values = {}
        for first, second, side in (("top", "bottom", size[0]), ("left", "right", size[1])):
            cut = int(rng.integers(0, int(side * limit) + 1))
            values[first] = int(rng.integers(0, cut + 1))
            values[second] = cut - values[first]
        return values

    def at(share: float, limit: float, size: tuple[int, int], fill: str) -> Values:
        down, right = (int(side * limit * share) for side in size)
        return {"top": 0, "bottom": down, "left": 0, "right": right}

    return Range(draw, at)


def _shift() -> Range:
    """Up to a share of the side, in each direction."""

    def draw(rng: np.random.Generator, limit: float, size: tuple[int, int], fill: str) -> Values:
        down, right = (int(side * limit) for side in size)
        return {
            "down": int(rng.integers(-down, down + 1)),
            "right": int(rng.integers(-right, right + 1)),
            "fill": fill,
        }

    def at(share: float, limit: float, size: tuple[int, int], fill: str) -> Values:
        down, right = (int(side * limit * share) for side in size)
        return {"down": down, "right": right, "fill": fill}

    return Range(draw, at)


def _real(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


# In the order in which a chain applies them: as in a camera, the scene first, then light, lens,
# sensor and file. A fixed order also means that different values give different images.
OPERATIONS: Mapping[str, Operation] = {
    "horizontal_flip": Operation(_NOTHING, geometry.horizontal_flip, None, rating=True),
    "vertical_flip": Operation(_NOTHING, geometry.vertical_flip, None),
    # degrees, to either side
    "rotation": Operation(_both_sides("degrees"), geometry.rotation, Setting(0.1, 180.0, 20.0)),
    # horizontal pixels per vertical pixel, to either side
    "shear": Operation(_both_sides("factor"), geometry.shear, Setting(0.01, 1.0, 0.15)),
    # times as large, or as small
    "zoom": Operation(_factor("factor", filled=True), geometry.zoom, Setting(1.01, 4.0, 1.2)),
    # of the side, in each direction
    "shift": Operation(_shift(), geometry.shift, Setting(0.01, 0.5, 0.1), rating=True),
    # of the side, from both of its ends together
    "crop": Operation(_crop(), geometry.crop, Setting(0.01, 0.5, 0.05), rating=True),
    # times as much, or as little
    "brightness": Operation(_factor("gain"), appearance.brightness, Setting(1.01, 4.0, 1.25)),
    "contrast": Operation(_factor("gain"), appearance.contrast, Setting(1.01, 4.0, 1.25)),
    "colour": Operation(_factor("gain"), appearance.colour, Setting(1.01, 4.0, 1.5)),
    # standard deviation, in pixels
    "blur": Operation(_up_to("sigma_px", 0.3), appearance.blur, Setting(0.3, 10.0, 1.5)),
    # photons that make white: fewer give more noise
    "poisson": Operation(
        _seeded(_down_to("photons", 1000)), appearance.poisson, Setting(4, 1000, 100)
    ),
    # standard deviation, as a share of the value
    "speckle": Operation(
        _seeded(_up_to("sigma", 0.01)), appearance.speckle, Setting(0.01, 1.0, 0.08)
    ),
    # standard deviation, of 255
    "gaussian_noise": Operation(
        _seeded(_up_to("sigma", 2.0)), appearance.gaussian_noise, Setting(0.5, 100.0, 12.0)
    ),
    # share of the pixels
    "salt_and_pepper": Operation(
        _seeded(_up_to("share", 0.002)), appearance.salt_and_pepper, Setting(0.001, 0.5, 0.02)
    ),
    # lowest quality; the highest is 90
    "jpeg": Operation(_down_to("quality", 90), appearance.jpeg, Setting(1, 100, 50)),
}
