"""`darkroom export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from darkroom.commands.project import in_project

Format = Literal["folder", "parquet", "webdataset"]  # the keys of writers.FORMATS


def export(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, outside data/.")],
    layout: Annotated[Format, typer.Option("--format", help="See above.")] = "folder",
    augmented: Annotated[bool, typer.Option("--augmented", help="Augmented images too.")] = False,
) -> None:
    r"""Write the finished data set to DIR, for other tools.

    The bytes are the original ones, never re-encoded. Formats:

    \b
      folder      split/label/<key>.<ext>; without label for ratings alone
      webdataset  tar shards per split: <key>.<ext>, and <key>.json (labels)
      parquet     image bytes and labels, as Hugging Face datasets reads them

    Each comes with labels.csv, for people, and labels.parquet, which is exact. Example:

    \b
      darkroom export ~/dataset-wds --format webdataset
    """
    from darkroom.export.dataset import export_dataset

    with in_project() as (root, _):
        export_dataset(root, target, layout, augmented)
