"""Chains of operations: which are allowed for a task, how they are drawn, applied and written down.

Variant k of an image depends on the seed, the image and k alone (and on the operations allowed), so
that images added to a data set change no earlier augmented image.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from stages.lib.failures import UserError
from stages.lib.pixels import Pixels
from stages.lib.randomness import generator
from stages.transforms.operations import OPERATIONS

Task = Literal["rating", "classification", "none"]
Chain = list[dict[str, Any]]  # one dict per operation: its name, and the values drawn for it

# Quality is what noise, blur, compression, light and interpolation change, and a camera held
# askew or upside down is a fault: what remains moves whole pixels.
LABEL_TRUE: dict[Task, tuple[str, ...]] = {
    "rating": ("horizontal_flip", "shift", "crop"),
    "classification": tuple(OPERATIONS),
    "none": (),
}
MOST_DRAWS = 100  # for one variant that differs from the earlier ones


def allowed_operations(task: Task, wanted: Literal["auto"] | Sequence[str]) -> list[str]:
    """Return the operations to draw from, in the order in which they are applied.

    Raises UserError for an unknown operation, for one that makes the task's labels untrue, and for
    an empty list.
    """
    if wanted == "auto":
        return list(LABEL_TRUE[task])
    unknown = sorted(set(wanted) - set(OPERATIONS))
    if unknown:
        raise UserError(
            f"params.yaml: augment.operations names {', '.join(unknown)}; known are "
            f"{', '.join(OPERATIONS)}, or write auto for all that suit the task."
        )
    untrue = [name for name in OPERATIONS if name in wanted and name not in LABEL_TRUE[task]]
    if untrue and task != "none":
        raise UserError(
            f"params.yaml: augment.operations names {', '.join(untrue)}, after which the labels of "
            f"train.task: {task} are no longer true (a blurred photograph does not keep its "
            f"rating). Label-true are {', '.join(LABEL_TRUE[task])}; write auto for all of them."
        )
    if not wanted:
        raise UserError(
            "params.yaml: augment.operations is an empty list. Write auto for all that suit the "
            "task, or set augment.target: 0 for no augmentation."
        )
    return [name for name in OPERATIONS if name in wanted]


def draw_variants(
    seed: int, parent: str, count: int, names: Sequence[str], length: tuple[int, int],
    size: tuple[int, int],
) -> list[Chain]:  # fmt: skip
    """Return the chains of variants 0 to `count` - 1, all different, none without any effect.

    `length` is the least and the most operations per chain, `size` the image's height and width.
    Raises UserError when the operations do not give so many variants.
    """
    chains: list[Chain] = []
    while len(chains) < count:
        for draw in range(MOST_DRAWS):
            chain = _draw(seed, (parent, len(chains), draw), names, length, size)
            if chain not in chains and any(_has_effect(step) for step in chain):
                chains.append(chain)
                break
        else:
            raise UserError(
                f"augment: found only {len(chains)} different variants of image {parent} "
                f"({size[1]}x{size[0]} px) by {', '.join(names)}, but augment.target asks for "
                f"{count}. Allow more augment.operations, or lower augment.target in params.yaml."
            )
    return chains


def _draw(
    seed: int, who: tuple[str | int, ...], names: Sequence[str], length: tuple[int, int],
    size: tuple[int, int],
) -> Chain:  # fmt: skip
    rng = generator(seed, "augment", *who)
    count = min(int(rng.integers(length[0], length[1] + 1)), len(names))
    chosen = sorted(rng.choice(len(names), count, replace=False).tolist())
    height, width = size
    chain: Chain = []
    for place in chosen:
        values = OPERATIONS[names[place]].draw(rng, height, width)
        chain.append({"name": names[place], **values})
        if names[place] == "crop":
            height -= values["top"] + values["bottom"]
            width -= values["left"] + values["right"]
    return chain


def _has_effect(step: dict[str, Any]) -> bool:
    """Return whether a step does anything: a shift or a crop may have drawn nought."""
    values = [value for name, value in step.items() if name != "name"]
    return not values or any(values)


def apply(pixels: Pixels, chain: Iterable[dict[str, Any]]) -> Pixels:
    """Return the image that a chain makes of `pixels`, the same one each time."""
    for step in chain:
        values = {name: value for name, value in step.items() if name != "name"}
        pixels = OPERATIONS[step["name"]].apply(pixels, **values)
    return pixels


def to_json(chain: Chain) -> str:
    """Return the text for the index's column `operations`; `json.loads` gives the chain again."""
    return json.dumps(chain)
