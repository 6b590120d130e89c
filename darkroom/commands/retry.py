"""`darkroom retry`."""

from darkroom.commands.project import in_project


def retry() -> None:
    """Try again what could not be fetched.

    Forgets the records of `data/raw/index.parquet` that failed, whatever the reason, and says how
    many there were. The next `dvc repro` fetches these and only these; a plain one fetches what is
    new and leaves old failures alone. `make retry` does both.
    """
    from darkroom.sources.store.raw_store import forget_failures

    with in_project() as (root, _):
        forget_failures(root)
