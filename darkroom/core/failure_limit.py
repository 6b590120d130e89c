"""One bad image never stops a stage; too many do."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from darkroom.core.errors import LONGEST, UserError, visible

logger = logging.getLogger(__name__)


def stop_if_too_many(
    stage: str,
    parameter: str,
    failures: Iterable[tuple[str, str]],
    total: int,
    allowed: float,
    meanings: Mapping[str, str] | None = None,
) -> None:
    """Raise UserError when more than `allowed` of `total` failed.

    `failures` are (reason, image); the ten commonest reasons are listed with an image of each.
    """
    failures = list(failures)
    counts, examples = Counter(reason for reason, _ in failures), dict(reversed(failures))
    failed = len(failures)
    if total and failed / total > allowed:
        known = {reason: f" ({meaning})" for reason, meaning in (meanings or {}).items()}
        lines = "\n".join(
            f"  {count:6d}  {reason}{known.get(reason, '')}, as"
            f" {visible(examples[reason])[:LONGEST]}"
            for reason, count in counts.most_common(10)
        )
        raise UserError(
            f"{stage}: {failed} of {total} images failed, more than {parameter} = {allowed} allows."
            f" The commonest reasons:\n{lines}\n"
            f"Correct the source, or raise {parameter} in params.yaml to go on with the rest."
        )


def count_failed(stage: str, failed: Mapping[str, str]) -> dict[str, int]:
    """Return how many images failed (key → reason) though clean kept them, and warn of any."""
    if failed:
        key, reason = min(failed.items())
        logger.warning(
            "%s: %d images that clean found whole no longer decode and are left out, as %s (%s);"
            " restore data/ with `dvc checkout`, or delete what is damaged and run `dvc repro`",
            stage, len(failed), key, reason,
        )  # fmt: skip
    return dict(sorted(Counter(failed.values()).items()))
