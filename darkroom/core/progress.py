"""Long work shows itself: a bar on a terminal, a plain line every few seconds elsewhere."""

import logging
import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

SECONDS_PER_LINE = 5.0
NONE: Mapping[str, int] = {}

logger = logging.getLogger(__name__)


class Progress:
    """Counts finished images of one stage and says so; `close` logs the closing line.

    A step of a stage may count something else; it ends with `finish`, which says nothing.
    """

    def __init__(
        self, stage: str, total: int, unit: str = "image", open_ended: bool = False
    ) -> None:
        """Start counting `total` images of `stage`, or more where the number is `open_ended`."""
        self.stage, self.total, self.unit, self.done = stage, total, unit, 0
        self._started = self._said = time.monotonic()
        quiet = not sys.stderr.isatty()
        self._open = open_ended
        self._bar = tqdm(
            total=None if open_ended else total, desc=stage, unit=unit, disable=quiet, leave=False
        )

    def advance(self, images: int) -> None:
        """Count `images` more as finished."""
        self.done += images
        self.total = max(self.total, self.done)
        self._bar.update(images)
        now = time.monotonic()
        if self._bar.disable and now - self._said >= SECONDS_PER_LINE:
            self._said = now
            rate = self.done / (now - self._started)
            if self._open:
                logger.info("%s: %d %ss so far, %.0f/s", self.stage, self.done, self.unit, rate)
                return
            left = (self.total - self.done) / rate if rate else float("inf")
            logger.info(
                "%s: %d of %d %ss, %.0f/s, %.0f s left",
                self.stage, self.done, self.total, self.unit, rate, left,
            )  # fmt: skip

    def finish(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def close(
        self, kept: int, rejected: Mapping[str, int], failed: Mapping[str, int] = NONE
    ) -> None:
        """Log in, kept, rejected and failed by reason, seconds and rate in one line."""
        self.finish()
        seconds = time.monotonic() - self._started
        logger.info(
            "%s: %d in, %d kept, %d rejected%s, %d failed%s, %.1f s, %.0f images/s",
            self.stage, self.total, kept, sum(rejected.values()), _by_reason(rejected),
            sum(failed.values()), _by_reason(failed), seconds,
            self.total / seconds if seconds else 0.0,
        )  # fmt: skip


def _by_reason(counts: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    return f" ({reasons})" if reasons else ""


def log_to_stderr() -> None:
    """Configure logging for a stage that runs as a script."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
