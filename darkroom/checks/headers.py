"""Scores that the size and the header of one image tell, in [0, 1], 1 = fine."""

import numpy as np
import pandas as pd

# How Pillow calls pixels that are stored without colour; cleanvision knows L alone.
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


def header_scores(images: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of images that have `width`, `height`, `mode` and `bytes`.

    - odd_aspect_ratio: short side / long side (cleanvision).
    - greyscale: 0 where the file stores grey, else 1 (cleanvision). A grey picture that is stored
      in colour has a low `colourless_score`.
    - low_bits_per_pixel: bits of the file per pixel, at most 1.
    """
    width, height = images["width"].astype(float), images["height"].astype(float)
    bits = 8 * images["bytes"].astype(float) / (width * height)
    return pd.DataFrame(
        {
            "odd_aspect_ratio_score": np.minimum(width, height) / np.maximum(width, height),
            "greyscale_score": (~images["mode"].isin(GREY_MODES)).astype(float),
            "low_bits_per_pixel_score": bits.clip(upper=1.0),
        },
        index=images.index,
    )
