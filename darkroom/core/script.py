"""What every stage's `__main__` does: read params.yaml here, run, show errors without a trace."""

import sys
from collections.abc import Callable
from pathlib import Path

from darkroom.core.errors import UserError, explain
from darkroom.core.params import Params, load_params
from darkroom.core.progress import log_to_stderr


def run_as_script(run: Callable[[Path, Params], None]) -> None:
    """Run a stage in the working folder; exit 1 with one message on a user's error."""
    log_to_stderr()
    root = Path.cwd()
    try:
        run(root, load_params(root))
    except (UserError, OSError) as error:
        sys.exit(f"error: {explain(error)}")
