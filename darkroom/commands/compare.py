"""`darkroom compare`."""

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from darkroom.core.errors import UserError
from darkroom.core.explain import explain

if TYPE_CHECKING:
    from darkroom.comparison.differences import Comparison

NOT_WORSE, WORSE, NO_VERDICT = 0, 1, 2


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The revision to be better than.")],
    head: Annotated[
        str | None, typer.Argument(metavar="HEAD", help="The other; left out, the workspace.")
    ] = None,
    require: Annotated[
        Literal["better"] | None, typer.Option(help="Exit with 0 only if HEAD is better.")
    ] = None,
    on_todays_data: Annotated[
        bool,
        typer.Option(
            "--on-todays-data", help="Train BASE on the workspace's data first, in a copy."
        ),
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown, as for GitHub.")] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="The numbers, to FILE.")] = None,
) -> None:
    r"""Compare two git revisions, to see whether a model is really better.

    BASE and HEAD are branches, tags, commits or experiments of DVC. Both are evaluated on the test
    images that they share; each metric's difference gets a paired interval and a p-value. The exit
    status says what came out:

    \b
      0  nothing is significantly worse; --require better: main metric better
      1  a metric is significantly worse, or --require better was not shown
      2  they cannot be compared: refused, missing, a wrong command, or a defect

    Significant means a p-value of at most 1 − evaluate.confidence after Holm's adjustment over
    all metrics. The main metric is SRCC for ratings, AUC for two classes and for one class, else
    accuracy. "No difference shown" is no proof that there is none.

    Where the set has grown, the two have too few test images in common. --on-todays-data then runs
    the code and parameters of BASE, from augment to evaluate, on the images, labels and splits of
    the workspace, in a temporary copy; that takes as long as training. Examples:

    \b
      darkroom compare main                    # against the workspace
      darkroom compare main my-idea --require better
      darkroom compare v1 --on-todays-data
    """
    try:
        from darkroom.comparison import differences, pairs, revisions, text, todays_data
        from darkroom.core.files import write_json

        root = Path.cwd()
        if on_todays_data and head is not None:
            raise UserError("--on-todays-data: expected BASE alone, since HEAD is the workspace")
        read = todays_data.read_trained if on_todays_data else revisions.read_revision
        both = read(root, base), revisions.read_revision(root, head)
        comparison = differences.compare(*both, pairs.pair(*both))
        if json:
            write_json(json, text.as_tree(comparison))
    except (UserError, OSError) as error:
        if markdown:
            sys.stdout.write(f"**The models cannot be compared.** {text.code(explain(error))}\n")
        sys.stderr.write(f"error: {explain(error)}\n")
        raise typer.Exit(NO_VERDICT) from error
    except Exception as defect:  # Python's own exit status would say that the model is worse
        traceback.print_exc()
        raise typer.Exit(NO_VERDICT) from defect
    sys.stdout.write(text.as_markdown(comparison) if markdown else text.as_text(comparison))
    status = exit_status(comparison, require is not None)
    if require and status != NOT_WORSE:
        sys.stderr.write(
            f"--require better: expected {text.TITLES[comparison.main]} significantly better and"
            " nothing significantly worse; this was not shown\n"
        )
    raise typer.Exit(status)


def exit_status(comparison: "Comparison", require_better: bool) -> int:
    """Return what the command's help says."""
    if comparison.having("worse"):
        return WORSE
    shown = comparison.main in comparison.having("better")
    return NOT_WORSE if shown or not require_better else WORSE
