"""`darkroom retry`."""

from pathlib import Path

from darkroom.commands.errors import errors_shown


def retry() -> None:
    """Try again what could not be fetched.

    Forgets the records of `data/raw/index.parquet` that failed, whatever the reason, and says how
    many there were. The next `dvc repro` fetches these and only these; a plain one fetches what is
    new and leaves old failures alone. `make retry` does both.
    """
    from darkroom.core.params.load import load_params
    from darkroom.core.params.whole import Params
    from darkroom.core.progress import log_to_stderr
    from darkroom.sources.store.retry import forget_failures

    log_to_stderr()
    with errors_shown():
        load_params(Path.cwd(), Params)
        forget_failures(Path.cwd())
