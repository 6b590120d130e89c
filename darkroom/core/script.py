"""What every stage's `__main__` does: read params.yaml here, run, show errors without a trace."""

from collections.abc import Callable
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.params.load import Model, load_params
from darkroom.core.progress import log_to_stderr
from darkroom.core.stale_metrics import put_aside, put_back


def run_as_script(run: Callable[[Path, Model], None], model: type[Model]) -> None:
    """Run a stage in the working folder; exit 1 with one message on a user's error."""
    log_to_stderr()
    root, stage = Path.cwd(), Path(run.__code__.co_filename).stem
    try:
        params = load_params(root, model)
    except (UserError, OSError) as error:  # before any work, so that nothing here is out of date
        from darkroom.core.explain import explain

        raise SystemExit(f"error: {explain(error)}") from error
    try:
        run(root, params)
    except Exception as error:
        from darkroom.core.explain import explain

        put_aside(root, stage)
        if isinstance(error, UserError | OSError):
            raise SystemExit(f"error: {explain(error)}") from error
        raise
    put_back(root, stage)
