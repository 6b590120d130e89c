"""What commands begin with: checked settings, and a user's errors shown without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from darkroom.core.errors import UserError
from darkroom.core.explain import explain

if TYPE_CHECKING:
    from darkroom.core.params.whole import Params


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show what a user can act on as one message, and exit with status 1."""
    try:
        yield
    except (UserError, OSError) as error:
        typer.echo(f"error: {explain(error)}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def in_project() -> Iterator[tuple[Path, "Params"]]:
    """Give the working folder and its checked settings; log to stderr, show errors."""
    from darkroom.core.params import load, whole
    from darkroom.core.progress import log_to_stderr

    log_to_stderr()
    with errors_shown():
        yield Path.cwd(), load.load_params(Path.cwd(), whole.Params)
