"""`darkroom export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from darkroom.commands.errors import errors_shown


class Format(StrEnum):
    """How images and labels are laid out; the keys of `darkroom.export.writers.FORMATS`."""

    FOLDER = "folder"
    PARQUET = "parquet"
    WEBDATASET = "webdataset"


def export(
    target: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new or empty folder, outside data/.")
    ],
    layout: Annotated[Format, typer.Option("--format", help="See above.")] = Format.FOLDER,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Also the augmented training images.")
    ] = False,
) -> None:
    r"""Write the finished data set to DIR, for other tools.

    The bytes are the original ones, never re-encoded. Formats:

    \b
      folder      split/label/<key>.<ext>; without the label where images have ratings alone
      webdataset  tar shards per split, with <key>.<ext> and <key>.json (the labels)
      parquet     image bytes and labels, as Hugging Face datasets reads them

    Each comes with labels.csv, for people, and labels.parquet, which is exact. Example:

    \b
      darkroom export ~/dataset-wds --format webdataset
    """
    from darkroom.core.params.load import load_params
    from darkroom.core.params.whole import Params
    from darkroom.core.progress import log_to_stderr
    from darkroom.export.dataset import export_dataset

    log_to_stderr()
    with errors_shown():
        load_params(Path.cwd(), Params)
        export_dataset(Path.cwd(), target, layout.value, augmented)
