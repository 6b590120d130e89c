"""Errors that a user can act on: expected, got, where, what to do."""

from collections import Counter
from collections.abc import Iterable


class UserError(Exception):
    """A setting or an input stops the stage; the message says what to do. Shown without a trace."""


def stop_if_too_many(
    stage: str, parameter: str, reasons: Iterable[str], total: int, allowed: float
) -> None:
    """Raise UserError with the ten commonest reasons when more than `allowed` of `total` failed."""
    counts = Counter(reasons)
    failed = counts.total()
    if total and failed / total > allowed:
        lines = "\n".join(f"  {count:6d}  {reason}" for reason, count in counts.most_common(10))
        raise UserError(
            f"{stage}: {failed} of {total} images failed, more than {parameter} = {allowed} allows."
            f" The commonest reasons:\n{lines}\n"
            f"Correct the source, or raise {parameter} in params.yaml to go on with the rest."
        )
