"""A user's errors are shown without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from darkroom.core.errors import UserError
from darkroom.core.explain import explain


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show what a user can act on as one message, and exit with status 1."""
    try:
        yield
    except (UserError, OSError) as error:
        typer.echo(f"error: {explain(error)}", err=True)
        raise typer.Exit(1) from error
