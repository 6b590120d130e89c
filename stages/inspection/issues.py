"""What the measurements say: the flags of each image, and whether it stays."""

from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.inspection.measure import MEASUREMENTS
from stages.lib.engine import CRASHED, HUNG
from stages.lib.params import CleanParams, Issue

ISSUES: tuple[Issue, ...] = get_args(Issue)  # of several that reject, the first is the reason

SUMMARY = pa.schema(
    {
        "key": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        **{f"is_{issue}": pa.bool_() for issue in ISSUES},  # null where the image does not decode
        **MEASUREMENTS,
    }
)


def flag(parts: pd.DataFrame, params: CleanParams) -> pd.DataFrame:
    """Return one boolean column per issue; all false where the image has a fault."""
    width, height = parts["width"].astype(float), parts["height"].astype(float)
    short, long = np.minimum(width, height), np.maximum(width, height)
    flags = pd.DataFrame(
        {
            "too_small": short < params.min_side_px,
            "odd_aspect_ratio": long > params.max_aspect_ratio * short,
            "blurry": parts["blurry_score"] < params.blurry_below,
            "dark": parts["dark_score"] < params.dark_below,
            "light": parts["light_score"] < params.light_below,
            "low_information": parts["low_information_score"] < params.low_information_below,
        },
        index=parts.index,
    )
    return flags & parts["fault"].isna().to_numpy()[:, None]


def summarise(parts: pd.DataFrame, params: CleanParams) -> pd.DataFrame:
    """Return SUMMARY: a fault or an issue of `clean.reject` rejects, a dead decoder fails."""
    flags = flag(parts, params)
    reason = parts["fault"].astype(object).where(parts["fault"].notna(), None)
    for issue in ISSUES:
        if issue in params.reject:
            reason = reason.mask(reason.isna() & flags[issue], issue)
    failed = reason.isin([CRASHED, HUNG])
    status = np.select([failed, reason.notna()], ["failed", "rejected"], "kept")
    summary = parts[["key", *MEASUREMENTS]].assign(status=status, reason=reason)
    for issue in ISSUES:
        summary[f"is_{issue}"] = flags[issue].astype(object).where(parts["fault"].isna(), None)
    return summary[SUMMARY.names]
