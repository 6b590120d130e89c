"""Review by hand what clean and dedupe decided: `make review`, or `python -m darkroom review`.

Run by a person. Serves a page on this machine alone and prints its address; Ctrl+C ends it. The
page shows groups of copies, leaks across official splits, conflicting labels, pairs that were
nearly or barely merged, and rejected images. Every decision is written to `data/review.csv` at
once, which git tracks and which clean and dedupe obey on the next `dvc repro`. Nothing is deleted:
a decision that is taken back brings the image back.
"""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from darkroom.core.errors import UserError
from darkroom.core.explain import explain
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from darkroom.core.progress import log_to_stderr
from darkroom.labels.decisions import REVIEW
from darkroom.review.history import Journal
from darkroom.review.server import Review

LOOPBACK = "127.0.0.1"

logger = logging.getLogger(__name__)


async def serve(root: Path, params: Params, port: int, browse: bool) -> None:
    """Serve until Ctrl+C or SIGTERM; `port` 0 takes a free one. Raises UserError if it is taken."""
    ended = asyncio.Event()
    with suppress(NotImplementedError):  # Windows, where Ctrl+C raises KeyboardInterrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
    review = Review(root, params, Journal(root / REVIEW))
    runner = web.AppRunner(review.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        try:
            await site.start()
        except OSError as error:
            raise UserError(
                f"port {port}: expected a free one, got: {error.strerror}; choose another one, or"
                " none for any that is free"
            ) from error
        review.port = runner.addresses[0][1]
        total = sum(found["total"] for found in review.findings.counts().values())
        logger.info(
            "review: %d items. Open %s\nEvery decision is saved at once in %s; `dvc repro` obeys"
            " them. Ctrl+C ends the review.",
            total, review.address(review.token), REVIEW,
        )  # fmt: skip
        if browse and has_screen():
            review.launch = secrets.token_urlsafe(32)
            await asyncio.to_thread(webbrowser.open, review.address(review.launch))
        await ended.wait()
    finally:
        await runner.cleanup()


def has_screen() -> bool:
    """Return whether a browser has somewhere to open; a text browser would take the terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in screens)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and serve; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m darkroom review", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    given = parser.parse_args(arguments)
    log_to_stderr()
    root = Path.cwd()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(root, load_params(root, Params), given.port, not given.no_browser))
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {explain(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
