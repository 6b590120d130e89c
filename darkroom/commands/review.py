"""`darkroom review`."""

import asyncio
from contextlib import suppress
from typing import Annotated

import typer

from darkroom.commands.project import in_project


def review(
    port: Annotated[int, typer.Option(help="The page's port; 0 takes any that is free.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    r"""Review by hand what clean and dedupe decided, on a local page.

    Serves a page on this machine alone and prints its address; Ctrl+C ends it. Each decision is
    written at once to `data/review.csv`, which git tracks and the next `dvc repro` applies. Nothing
    is deleted: a decision that is taken back brings the image back. Example, for a machine without
    a screen:

    \b
      darkroom review --port 8123 --no-browser
      ssh -L 8123:127.0.0.1:8123 machine    # then open the address
    """
    from darkroom.review.server import serve

    with in_project() as (root, params), suppress(KeyboardInterrupt):
        asyncio.run(serve(root, params, port, not no_browser))
