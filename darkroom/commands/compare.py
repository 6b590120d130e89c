"""Is it really better? `python -m darkroom compare BASE [HEAD]` compares two git revisions.

Run by a person or by CI. BASE and HEAD are branches, tags, commits or experiments of DVC; HEAD left
out is the workspace as it lies there. Both sides' predictions are read through DVC, from its cache
or its remote (darkroom/comparison/revisions.py), judged on the test images that both have
(darkroom/comparison/pairs.py), and each metric's difference gets a paired interval and a p-value
(darkroom/comparison/differences.py). The exit status says what came out:

    0  nothing is significantly worse; with --require better also: the main metric is
       significantly better
    1  a metric is significantly worse, or what --require asks for was not shown
    2  they cannot be compared: refused, missing, a wrong command line, or a defect of ours

Significant means a p-value of at most 1 − evaluate.confidence after Holm's adjustment over all
metrics. The main metric is SRCC for ratings, AUC for two classes and for one_class, else accuracy.
"No difference shown" is no proof that there is none.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from darkroom.comparison.differences import Comparison, compare
from darkroom.comparison.pairs import pair
from darkroom.comparison.revisions import read_revision
from darkroom.comparison.text import TITLES, as_markdown, as_text, as_tree, code
from darkroom.core.errors import UserError
from darkroom.core.explain import explain
from darkroom.core.files import write_json

FINE, WORSE, REFUSED = 0, 1, 2


def exit_status(comparison: Comparison, require_better: bool) -> int:
    """Return what the rule in this module's head says."""
    if comparison.having("worse"):
        return WORSE
    shown = comparison.main in comparison.having("better")
    return FINE if shown or not require_better else WORSE


def run(root: Path, base: str, head: str | None) -> Comparison:
    """Return the comparison of two revisions. Raises UserError where there is none."""
    sides = read_revision(root, base), read_revision(root, head)
    return compare(*sides, pair(*sides))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, compare, print; return the exit status."""
    words = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="python -m darkroom compare",
        description=words[0],
        epilog=words[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", metavar="BASE", help="the git revision to be better than")
    parser.add_argument("head", metavar="HEAD", nargs="?", help="default: the workspace")
    parser.add_argument("--require", choices=["better"], help="exit 0 only if it is better")
    parser.add_argument("--markdown", action="store_true", help="for a pull request")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as well")
    given = parser.parse_args(arguments)
    try:
        comparison = run(Path.cwd(), given.base, given.head)
        if given.json:
            write_json(given.json, as_tree(comparison))
    except (UserError, OSError) as error:
        if given.markdown:
            sys.stdout.write(f"**The models cannot be compared.** {code(explain(error))}\n")
        sys.stderr.write(f"error: {explain(error)}\n")
        return REFUSED
    except Exception:  # Python's own exit status would say that the model is worse
        traceback.print_exc()
        return REFUSED
    sys.stdout.write(as_markdown(comparison) if given.markdown else as_text(comparison))
    status = exit_status(comparison, given.require == "better")
    if given.require and status != FINE:
        sys.stderr.write(
            f"--require better: expected {TITLES[comparison.main]} significantly better and nothing"
            " significantly worse; this was not shown\n"
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
