"""`darkroom predict`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from darkroom.commands.project import errors_shown


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Image files, or folders of them.")
    ],
    model: Annotated[Path, typer.Option(help="The folder that train wrote.")] = Path("data/model"),
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV file as well.")] = None,
) -> None:
    r"""Predict for images with the trained model, one line each.

    For ratings: the mean score, its standard deviation (both in the units of train.scale) and the
    share of each bin. For classes: the likeliest one and every probability. For one class: the
    outlier score and the share of normal validation images that score lower. Folders are searched
    with all that lies below them. A file that is no whole image is named, the rest goes on, and the
    exit status is 1. Example:

    \b
      darkroom predict ~/photos --out scores.csv
    """
    from darkroom.core.files import write_text
    from darkroom.models.predict import as_csv, as_line, find_images, predict_files
    from darkroom.models.saved import SavedModel

    kept, failed = [], False
    with errors_shown():
        for prediction in predict_files(SavedModel.load(model), find_images(paths)):
            stream = sys.stderr if prediction.error else sys.stdout
            stream.write(as_line(prediction) + "\n")
            failed |= bool(prediction.error)
            kept += [prediction] if out else []
        if out:
            write_text(out, as_csv(kept))
    raise typer.Exit(failed)
