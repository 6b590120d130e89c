"""Chains of operations: which are allowed for a task, how they are drawn, applied and written down.

Variant k of an image depends on the seed, the image and k alone (and on the operations allowed), so
that images added to a data set change no earlier augmented image.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from darkroom.augmentation.operations import OPERATIONS
from darkroom.core.errors import UserError
from darkroom.core.randomness import generator
from darkroom.images.decode import Pixels

Task = Literal["rating", "classification", "one_class", "none"]
Chain = list[dict[str, Any]]  # one dict per operation: its name, and the values drawn for it
Requested = Literal["auto"] | Sequence[str | Mapping[str, Any]]

# Quality is what noise, blur, compression, light and interpolation change, and a camera held
# askew or upside down is a fault: what remains moves whole pixels.
LABEL_PRESERVING: dict[Task, tuple[str, ...]] = {
    "rating": tuple(name for name, operation in OPERATIONS.items() if operation.rating),
    "classification": tuple(OPERATIONS),
    "one_class": tuple(OPERATIONS),
    "none": (),
}
MOST_FOR_RATINGS = 0.15  # of the side, for shift and crop: beyond it another picture was rated
MOST_DRAWS = 100  # for one variant that differs from the earlier ones
WHERE = "params.yaml: augment.operations"


class Recipe(NamedTuple):
    """What chains are drawn from: each operation with its limit, in the order of application."""

    limits: tuple[tuple[str, float], ...]
    length: tuple[int, int]  # the least and the most operations per chain
    fill: str  # what is moved in from outside, see darkroom.augmentation.geometry


def allowed_operations(task: Task, requested: Requested) -> tuple[tuple[str, float], ...]:
    """Return the operations to draw from with their limits, in the order of their application.

    Raises UserError for an unknown operation, one that makes the task's labels untrue, a limit out
    of range, and an empty list.
    """
    if requested == "auto":
        return tuple((name, _limit(name, None)) for name in LABEL_PRESERVING[task])
    if not requested:
        raise UserError(
            f"{WHERE} is an empty list. Write auto for all that suit the task, and set"
            " augment.target: 0 as well for no augmentation."
        )
    given = dict(_named(step) for step in requested)
    unknown = sorted(set(given) - set(OPERATIONS))
    if unknown:
        raise UserError(
            f"{WHERE} names {', '.join(unknown)}; known are {', '.join(OPERATIONS)}, or write auto"
            " for all that suit the task."
        )
    untrue = [name for name in OPERATIONS if name in given and name not in LABEL_PRESERVING[task]]
    if untrue and task != "none":
        raise UserError(
            f"{WHERE} names {', '.join(untrue)}, after which the labels of train.task: {task} are "
            "no longer true (a blurred photograph does not keep its rating). Label-preserving: "
            f"{', '.join(LABEL_PRESERVING[task])}; write auto for all of them."
        )
    limits = tuple((name, _limit(name, given[name])) for name in OPERATIONS if name in given)
    if task == "rating" and (far := [name for name, limit in limits if limit > MOST_FOR_RATINGS]):
        raise UserError(
            f"{WHERE}: {', '.join(far)}: expected at most {MOST_FOR_RATINGS} with train.task: "
            "rating, since a part of the picture that is much smaller was not what people rated."
        )
    return limits


def _named(step: str | Mapping[str, Any]) -> tuple[str, Any]:
    """Return (name, limit) of `rotation` or `{rotation: 25}`."""
    if isinstance(step, str):
        return step, None
    if len(step) != 1:
        raise UserError(
            f"{WHERE}: expected a name, or one name with its limit as {{rotation: 25}}; got "
            f"{dict(step)}"
        )
    return next(iter(step.items()))


def _limit(name: str, given: Any) -> float:
    setting = OPERATIONS[name].limit
    if setting is None:
        if given is not None:
            raise UserError(f"{WHERE}: {name} has no limit, got {given!r}; write its name alone")
        return 0.0
    if given is None:
        return setting.default
    if not setting.allows(given):
        raise UserError(f"{WHERE}: {name}: expected {setting}, got {given!r}")
    return float(given)


def draw_variants(
    seed: int, parent: str, count: int, recipe: Recipe, size: tuple[int, int]
) -> list[Chain]:
    """Return the chains of variants 0 to `count` - 1, all different, no step without effect.

    A step that drew nothing is left out, so that a flip and a flip with a shift by 0 px are one.
    `size` is the image's height and width. Raises UserError when the operations do not give so many
    variants.
    """
    chains: list[Chain] = []
    while len(chains) < count:
        for draw in range(MOST_DRAWS):
            drawn = _draw(seed, (parent, len(chains), draw), recipe, size)
            chain = [step for step in drawn if _has_effect(step)]
            if chain and chain not in chains:
                chains.append(chain)
                break
        else:
            names = ", ".join(name for name, _ in recipe.limits)
            raise UserError(
                f"augment: found only {len(chains)} different variants of image {parent} "
                f"({size[1]}x{size[0]} px) by {names}, but augment.target asks for "
                f"{count}. Allow more augment.operations, or lower augment.target in params.yaml."
            )
    return chains


def _draw(seed: int, who: tuple[str | int, ...], recipe: Recipe, size: tuple[int, int]) -> Chain:
    rng = generator(seed, "augment", *who)
    (least, most), choice = recipe.length, recipe.limits
    count = min(int(rng.integers(least, most + 1)), len(choice))
    chosen = sorted(rng.choice(len(choice), count, replace=False).tolist())
    height, width = size
    chain: Chain = []
    for name, limit in (choice[place] for place in chosen):
        values = OPERATIONS[name].values.draw(rng, limit, (height, width), recipe.fill)
        chain.append({"name": name, **values})
        if name == "crop":
            height -= values["top"] + values["bottom"]
            width -= values["left"] + values["right"]
    return chain


def _has_effect(step: dict[str, Any]) -> bool:
    """Return whether a step does anything: a shift may have drawn 0 px, a zoom 1.0 times."""
    values = [value for name, value in step.items() if name not in {"name", "fill"}]
    nothing = 1 if step["name"] in {"zoom", "brightness", "contrast", "colour"} else 0
    return not values or any(value != nothing for value in values)


def apply(pixels: Pixels, chain: Iterable[dict[str, Any]]) -> Pixels:
    """Return the image that a chain makes of `pixels`, the same one each time."""
    for step in chain:
        values = {name: value for name, value in step.items() if name != "name"}
        pixels = OPERATIONS[step["name"]].apply(pixels, **values)
    return pixels
