"""Prepared input: a chain of filters that train, evaluate and predict apply alike.

A step is `{filter: NAME, setting: value, on: rgb}`, with the settings and ranges of FILTERS; what
is not given has its default. `on` says which planes of the picture are filtered:

- `rgb` (the default): red, green and blue, each alone.
- `grey`: brightness alone (ITU-R 601); the result has three equal channels.
- `hsv`: value, the V of hue, saturation and value. Hue is an angle, red lies at both of its ends:
  filtered like numbers it gives false colours at every edge between two reds; saturation jumps
  where a picture is dark. So both stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from darkroom.core.errors import UserError
from darkroom.filters import filter_bank
from darkroom.filters.filter_bank import Plane
from darkroom.filters.settings import Setting
from darkroom.images.decode import Pixels

PLANES = ("rgb", "grey", "hsv")


class Filter(NamedTuple):
    """What to do with a plane, and the settings of it."""

    apply: Callable[..., Plane]
    settings: Mapping[str, Setting]


Step = dict[str, Any]  # `filter`, `on` and every setting

_SIDE = Setting(3, 31, 3, odd=True)
_SIGMA = Setting(0.3, 20.0, 1.0)
_GAIN = Setting(0.1, 20.0, 1.0)
_CUTOFF = Setting(0.005, 0.7, 0.1)  # cycles per pixel: the corner of the spectrum is at 0.707
_ORDER = Setting(1, 20, 2)

FILTERS: Mapping[str, Filter] = {
    "mean": Filter(filter_bank.mean, {"size_px": _SIDE}),
    "gaussian": Filter(filter_bank.gaussian, {"sigma_px": _SIGMA}),
    "median": Filter(filter_bank.median, {"size_px": _SIDE}),
    "conservative": Filter(filter_bank.conservative, {"size_px": _SIDE}),
    "laplacian": Filter(filter_bank.laplacian, {"gain": _GAIN}),
    "laplacian_of_gaussian": Filter(
        # below 0.7 px its kernel falls between the pixels
        filter_bank.laplacian_of_gaussian,
        {"sigma_px": Setting(0.7, 20.0, 1.0), "gain": _GAIN},
    ),
    "unsharp": Filter(filter_bank.unsharp, {"sigma_px": _SIGMA, "amount": Setting(0.1, 10.0, 1.0)}),
    "ideal_low_pass": Filter(filter_bank.ideal_low_pass, {"cutoff": _CUTOFF}),
    "ideal_high_pass": Filter(filter_bank.ideal_high_pass, {"cutoff": _CUTOFF}),
    "butterworth_low_pass": Filter(
        filter_bank.butterworth_low_pass, {"cutoff": _CUTOFF, "order": _ORDER}
    ),
    "butterworth_high_pass": Filter(
        filter_bank.butterworth_high_pass, {"cutoff": _CUTOFF, "order": _ORDER}
    ),
    "crimmins": Filter(filter_bank.crimmins, {"iterations": Setting(1, 100, 1)}),
    "ising": Filter(
        filter_bank.ising,
        {
            "coupling": Setting(0.0, 5.0, 1.0),
            "flipped": Setting(0.001, 0.499, 0.1),
            "sweeps": Setting(2, 200, 20),
            "seed": Setting(0, 2**31 - 1, 0),
        },
    ),
    "principal_components": Filter(
        filter_bank.principal_components, {"components": Setting(1, 10_000, 16)}
    ),
}


def read_steps(steps: Sequence[Mapping[str, Any]], where: str) -> list[Step]:
    """Return the steps with every setting filled in. Raises UserError naming what is expected."""
    return [_read_step(step, f"{where}[{number}]") for number, step in enumerate(steps)]


def _read_step(step: Mapping[str, Any], where: str) -> Step:
    name, planes = step.get("filter"), step.get("on", "rgb")
    if not isinstance(name, str) or name not in FILTERS:
        raise UserError(
            f"{where}.filter: expected one of {', '.join(FILTERS)}; got {name!r}; correct the name"
        )
    if planes not in PLANES:
        raise UserError(f"{where}.on: expected one of {', '.join(PLANES)}; got {planes!r}")
    known = FILTERS[name].settings
    if unknown := sorted(set(step) - {"filter", "on", *known}):
        raise UserError(
            f"{where}: {name} has no {', '.join(unknown)}; it knows {', '.join(known)} and on"
        )
    read: Step = {"filter": name, "on": planes}
    for setting, allowed in known.items():
        value = step.get(setting, allowed.default)
        if not allowed.allows(value):
            raise UserError(f"{where}.{setting}: expected {allowed}; got {value!r}")
        read[setting] = value
    return read


def kernel_px(step: Step) -> int:
    """Return the side of the square that a step looks at; 1 for those without a kernel.

    >>> kernel_px({"filter": "gaussian", "sigma_px": 1.5}), kernel_px({"filter": "crimmins"})
    (13, 1)
    """
    if "sigma_px" in step:
        return 2 * round(4 * float(step["sigma_px"])) + 1  # a Gaussian is cut at four sigma
    return int(step.get("size_px", 1))


def check_size(pixels: Pixels, steps: Sequence[Step]) -> None:
    """Raise UserError for an image that is smaller than the kernel of a filter."""
    for step in steps:
        side = kernel_px(step)
        if min(pixels.shape[:2]) < side:
            raise UserError(
                f"train.preprocess: {step['filter']} looks at squares of {side} px, and an image"
                f" has only {pixels.shape[1]}x{pixels.shape[0]}; lower its size_px or sigma_px, or"
                " raise clean.min_side_px in params.yaml"
            )


def preprocess(pixels: Pixels, steps: Sequence[Step]) -> Pixels:
    """Return (height, width, 3) RGB after every step, in order. Raises as `check_size` does."""
    check_size(pixels, steps)
    for step in steps:
        values = {name: value for name, value in step.items() if name not in {"filter", "on"}}
        pixels = _on_planes(pixels, step["on"], FILTERS[step["filter"]].apply, values)
    return pixels


def _on_planes(
    pixels: Pixels, planes: str, function: Callable[..., Plane], values: Mapping[str, Any]
) -> Pixels:
    if planes == "rgb":
        channels = [function(np.ascontiguousarray(pixels[:, :, i]), **values) for i in range(3)]
        return np.stack(channels, axis=2)
    if planes == "grey":
        grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), np.uint8)
        return np.repeat(function(grey, **values)[:, :, None], 3, axis=2)
    return _on_value(pixels, function, values)


def _on_value(pixels: Pixels, function: Callable[..., Plane], values: Mapping[str, Any]) -> Pixels:
    """Filter V = max(R, G, B), and scale the channels with it: hue and saturation stay.

    OpenCV's own HSV keeps hue to two degrees, and would change pixels that no filter touched.
    """
    value = pixels.max(axis=2)
    wanted = function(value, **values)[:, :, None].astype(np.float32)
    ratio = wanted / np.maximum(value, 1)[:, :, None]
    scaled = np.where(value[:, :, None] > 0, pixels * ratio, wanted)  # black has no hue: grey
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
