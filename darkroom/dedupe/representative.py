"""Which of several copies represents them: the best image, and what makes it the best."""

import pandas as pd

from darkroom.core.tables import null_to_none
from darkroom.labels.labelled import is_rated
from darkroom.labels.official_splits import strength

# Of the scores of clean those that tell of two copies which is better; none of them depends on
# other images, so that new ones change no representative.
QUALITY = ["blurry_score", "dark_score", "light_score", "low_information_score"]


def rank_images(keys: pd.DataFrame) -> list[str]:
    """Return the keys, best image first.

    The best is of the strongest official split (test, validation, train), labelled (a label would
    go with its image), of the highest resolution, of the highest quality scores, and of the
    smallest key, in this order.
    """
    labelled = keys["label"].notna() | is_rated(keys)
    order = pd.DataFrame(
        {
            "strength": -keys["official_split"].map(lambda s: strength(null_to_none(s))),
            "unlabelled": ~labelled,
            "pixels": -(keys["width"] * keys["height"]),
            "quality": -keys[QUALITY].sum(axis=1).round(6),
            "key": keys["key"],
        }
    )
    return list(order.sort_values(list(order.columns))["key"])
