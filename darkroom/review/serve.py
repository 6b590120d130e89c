"""Serve the review page on this machine alone, until Ctrl+C or SIGTERM."""

import asyncio
import logging
import os
import secrets
import signal
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from darkroom.core.errors import UserError
from darkroom.core.params.whole import Params
from darkroom.labels.decisions import REVIEW
from darkroom.review.history import History
from darkroom.review.server import ReviewSession

LOOPBACK = "127.0.0.1"

logger = logging.getLogger(__name__)


async def serve(root: Path, params: Params, port: int, browse: bool) -> None:
    """Serve until Ctrl+C or SIGTERM; `port` 0 takes a free one. Raises UserError if it is taken."""
    ended = asyncio.Event()
    with suppress(NotImplementedError):  # Windows, where Ctrl+C raises KeyboardInterrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
    review = ReviewSession(root, params, History(root / REVIEW))
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
        total = sum(count["total"] for count in review.items.counts().values())
        logger.info(
            "review: %d items. Open %s\nEvery decision is saved at once in %s; `dvc repro` applies"
            " them. Ctrl+C ends the review.",
            total, review.url(review.token), REVIEW,
        )  # fmt: skip
        if browse and has_screen():
            review.one_time_token = secrets.token_urlsafe(32)
            await asyncio.to_thread(webbrowser.open, review.url(review.one_time_token))
        await ended.wait()
    finally:
        await runner.cleanup()


def has_screen() -> bool:
    """Return whether a browser has somewhere to open; a text browser would take the terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in screens)
