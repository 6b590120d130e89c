"""What the measurements say: the flags of each image, and whether it stays."""

from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from darkroom.checks.measure import MEASUREMENTS
from darkroom.checks.outliers import outlier_scores
from darkroom.checks.scores import DIGITS, header_scores
from darkroom.core.params.clean import CleanParams, Issue
from darkroom.images.errors import OUT_OF_MEMORY
from darkroom.labels.decisions import REVIEW, Decisions
from darkroom.workers.mapper import CRASHED, HUNG

ISSUES: tuple[Issue, ...] = get_args(Issue)  # of several that reject, the first is the reason
SCORELESS = ("too_small", "too_elongated", "odd_structure")
SCORED = [issue for issue in ISSUES if issue not in SCORELESS]

SUMMARY = pa.schema(
    {
        "key": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        **{f"is_{issue}": pa.bool_() for issue in ISSUES},  # null where the image does not decode
        **MEASUREMENTS,
        **{f"{issue}_score": pa.float64() for issue in SCORED},
    }
)


def complete(parts: pd.DataFrame) -> pd.DataFrame:
    """Add the scores that need no pixels: of the header, and relative to all that decode."""
    whole = parts[parts["fault"].isna()]
    scores = pd.concat([header_scores(whole), outlier_scores(whole)], axis=1)
    return parts.join(scores.round(DIGITS))


def flag(scored: pd.DataFrame, params: CleanParams) -> pd.DataFrame:
    """Return one boolean column per issue; all false where the image has a fault."""
    width, height = scored["width"].astype(float), scored["height"].astype(float)
    short, long = np.minimum(width, height), np.maximum(width, height)
    scoreless = {
        "too_small": short < params.min_side_px,
        "too_elongated": long > params.max_aspect_ratio * short,
        "odd_structure": scored["odd_structure"].eq(True),
    }
    low = {issue: scored[f"{issue}_score"] < getattr(params, f"{issue}_below") for issue in SCORED}
    flags = pd.DataFrame(scoreless | low, index=scored.index)[list(ISSUES)]
    return flags & scored["fault"].isna().to_numpy()[:, None]


def summarise(parts: pd.DataFrame, params: CleanParams) -> pd.DataFrame:
    """Return SUMMARY: a fault or an issue of `clean.reject` rejects, a dead decoder fails."""
    scored = complete(parts)
    flags = flag(scored, params)
    reason = parts["fault"].astype(object).where(parts["fault"].notna(), None)
    for issue in ISSUES:
        if issue in params.reject:
            reason = reason.mask(reason.isna() & flags[issue], issue)
    failed = reason.isin([CRASHED, HUNG, OUT_OF_MEMORY])
    status = np.select([failed, reason.notna()], ["failed", "rejected"], "kept")
    summary = scored.assign(status=status, reason=reason)
    for issue in ISSUES:
        summary[f"is_{issue}"] = flags[issue].astype(object).where(parts["fault"].isna(), None)
    return summary[SUMMARY.names]


def remedies(params: CleanParams) -> dict[str, str]:
    """Return which setting brings back what was rejected, by reason."""
    limit: dict[str, str] = {"too_small": "min_side_px", "too_elongated": "max_aspect_ratio"}
    settings: dict[str, str] = {
        issue: limit.get(issue, f"{issue}_below") for issue in params.reject
    }
    found = {
        issue: f"{'raise' if name.startswith('max') else 'lower'} clean.{name}"
        f" ({getattr(params, name)} in params.yaml), or take {issue}"
        " out of clean.reject"
        for issue, name in settings.items()
        if hasattr(params, name)
    }
    return {
        "odd_structure": "take odd_structure out of clean.reject",
        "too_many_pixels": f"raise clean.max_pixels ({params.max_pixels} in params.yaml)",
        HUNG: f"raise clean.timeout_s ({params.timeout_s:g} in params.yaml)",
        OUT_OF_MEMORY: f"raise clean.max_memory_bytes ({params.max_memory_bytes} in params.yaml)",
        "review": f"correct {REVIEW}",
        **found,
    }


def apply_decisions(summary: pd.DataFrame, decisions: Decisions) -> pd.DataFrame:
    """Let what a person decided stand above the flags; a fault stays a fault."""
    flagged = summary["reason"].isin(ISSUES)
    decides = flagged | (summary["status"] == "kept")
    rejected = decides & summary["key"].isin(decisions.reject)
    brought_back = flagged & summary["key"].isin(decisions.keep)
    decided = summary.copy()
    decided.loc[rejected, ["status", "reason"]] = ["rejected", "review"]
    decided.loc[brought_back, ["status", "reason"]] = ["kept", None]
    return decided
