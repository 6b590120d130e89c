"""Scores that an image has relative to all others of the data set, in [0, 1], 1 = like the others.

They depend on the values alone, not on the order of the images; a single image is never odd.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Reals = NDArray[np.float64]

IQR_FACTOR = 3.0  # cleanvision: iqr_factor of odd_size, Tukey's outer fence
FAR = 3.5  # Iglewicz and Hoaglin (1993): a modified z-score above this is an outlier


def outlier_scores(images: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of images that have `width`, `height` and `bytes`; below 0.5 is far off.

    - odd_size: √(width · height) by the quartiles (cleanvision). Where sizes vary it misses small
      images, since the lower fence falls below zero;
    - odd_resolution, width · height, and odd_file_size, bytes, are compared by ratios instead: by
      the modified z-score of their logarithm.
    """
    area = images["width"].to_numpy(np.float64) * images["height"].to_numpy(np.float64)
    size = images["bytes"].to_numpy(np.float64)
    return pd.DataFrame(
        {
            "odd_size_score": fence_scores(np.sqrt(area)),
            "odd_resolution_score": ratio_scores(area),
            "odd_file_size_score": ratio_scores(size),
        },
        index=images.index,
    )


def fence_scores(values: Reals) -> Reals:
    """Return 1 - |x - middle| / (high - low), at least 0, the fences being 3 IQR off the quartiles.

    So 0.5 is at a fence. Where the quartiles are equal every other value is odd: those have half of
    1 - |x - middle| / middle, where cleanvision raises its threshold to 1 instead.

    >>> fence_scores(np.array([1.0, 2, 3, 4, 20])).round(3).tolist()
    [0.857, 0.929, 1.0, 0.929, 0.0]
    >>> fence_scores(np.array([8.0, 8, 8, 8, 6])).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.375]
    """
    if not len(values):
        return values
    first, third = np.percentile(values, [25, 75])
    middle, gap = (first + third) / 2, (third - first) * (1 + 2 * IQR_FACTOR)
    distance = np.abs(values - middle)
    if gap > 0:
        return np.asarray(np.clip(1 - distance / gap, 0, 1))
    return np.asarray(np.where(distance == 0, 1.0, np.clip(1 - distance / middle, 0, 1) / 2))


def ratio_scores(values: Reals) -> Reals:
    """Return 3.5 / (3.5 + |z|) of positive values, z being the modified z-score of log x.

    z = (log x - median) / (1.4826 · median deviation); where more than half of all are equal, the
    mean deviation · 1.2533 divides instead, as IBM SPSS has it. So 0.5 is at |z| = 3.5.

    >>> ratio_scores(np.array([100.0, 100, 100])).tolist()
    [1.0, 1.0, 1.0]
    """
    if not len(values):
        return values
    logs = np.log(values)
    deviations = np.abs(logs - np.median(logs))
    spread = 1.4826 * float(np.median(deviations))
    if spread == 0:
        spread = 1.253314 * float(np.sort(deviations).mean())  # sorted: in any order the same sum
    return np.asarray(FAR / (FAR + (deviations / spread if spread > 0 else deviations)))
