"""`darkroom purge`."""

from pathlib import Path
from typing import Annotated

import typer

from darkroom.commands.project import in_project


def purge(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY",
            help="A key, its first 8 or more hexadecimal digits, or SOURCE:NAME, as in"
            " data/raw/index.parquet.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A file of them, one per line.")
    ] = None,
    with_copies: Annotated[
        bool, typer.Option("--with-copies", help="Verified copies too, of any size or edit.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    r"""Take images out for good, for takedown requests.

    Run it while nothing else runs. The key goes on `data/purged.csv`, so that these bytes never
    come back; the shards are written again without them; caches go. Sources are never touched. It
    ends with the commands that take out what was derived, and old versions in DVC's cache and
    remotes. Examples:

    \b
      darkroom purge 3f2a91c07be4 --dry-run
      darkroom purge photos:train/ann.jpg --with-copies
      darkroom purge --from keys.txt
    """
    if not images and file is None:
        raise typer.BadParameter("expected a KEY, SOURCE:NAME or --from FILE")

    from darkroom.purge.images import purge_images
    from darkroom.purge.names import read_names

    with in_project() as (root, _):
        wanted = [*(images or []), *(read_names(file) if file else [])]
        purge_images(root, wanted, with_copies, dry_run)
