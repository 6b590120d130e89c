"""Whether the ratings of label tables fit `train.scale` and `evaluate.cutoff`, before any work.

Looked at are tables and lists on this machine; what an archive or a shard holds inside, and what
lies elsewhere, train looks at.
"""

from collections.abc import Iterator
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.params.download import ListSource, Source, TabledSource
from darkroom.core.params.scale import Scale
from darkroom.core.params.whole import Params
from darkroom.core.paths import is_url, resolve_path
from darkroom.sources.entries import Labels
from darkroom.sources.label_tables.match import parse_rows
from darkroom.sources.label_tables.read import Row, read_rows
from darkroom.sources.source_files import find_label_tables

_USUAL = [(0, 1), (1, 5), (0, 5), (1, 7), (1, 10), (0, 10), (1, 100), (0, 100)]


def check_ratings(root: Path, params: Params) -> str | None:
    """Return what is odd about scale or cutoff, None for nothing. Raises UserError for a wrong one.

    A mean outside the scale and a number of votes other than its bins are wrong.
    """
    scale, cutoff, scores = params.train.scale, params.evaluate.cutoff, []
    for source in params.download.sources:
        for where, labels in _labels(source, root, params):
            if labels.mean is not None:
                scores.append(labels.mean)
            if labels.ratings is not None and len(labels.ratings) != scale.bins:
                raise UserError(
                    f"{where}: {len(labels.ratings)} counts of votes, but params.yaml: train.scale"
                    f" has {scale.bins} bins: set it to the scale of these ratings"
                )
    if not scores:
        return None
    low, high = min(scores), max(scores)
    if low < scale.low or high > scale.high:
        raise UserError(
            f"params.yaml: train.scale: the means of the label tables go from {low:g} to {high:g},"
            f" beyond the scale from {scale.low:g} to {scale.high:g}: set it to theirs"
            f"{_suggestion(low, high, scale)}, and evaluate.cutoff to the mean above which an image"
            " is good"
        )
    if high - low < (scale.high - scale.low) / 4 and len(set(scores)) > 1:
        return (
            f"the means of the label tables go from {low:g} to {high:g} only, of train.scale"
            f" {scale.low:g} to {scale.high:g}: is that their scale?"
        )
    good = sum(score > cutoff for score in scores)
    if good in (0, len(scores)):
        return (
            f"evaluate.cutoff: {'none' if good == 0 else 'each'} of {len(scores)} means is above"
            f" {cutoff:g}, so that no model can tell good from bad; the middle one is"
            f" {sorted(scores)[len(scores) // 2]:g}"
        )
    return None


def _suggestion(low: float, high: float, scale: Scale) -> str:
    fits = [pair for pair in _USUAL if pair[0] <= low and high <= pair[1]]
    if not fits:
        return ""
    first, last = min(fits, key=lambda pair: pair[1] - pair[0])
    return f", perhaps {{low: {first}, high: {last}, bins: {scale.bins}}}"


def _labels(source: Source, root: Path, params: Params) -> Iterator[tuple[str, Labels]]:
    """Yield (where, labels) of each row of a source's own tables."""
    tables: list[tuple[Path, list[Row]]] = []
    name = "name"
    if isinstance(source, TabledSource) and not is_url(source.path):
        found = find_label_tables(source, root, params.download).items()
        tables = [
            (Path(file.shown), read_rows(Path(file.shown), file.read(), source.columns))
            for label_table, file in found
            if file and not is_url(label_table)
        ]
    elif isinstance(source, ListSource) and Path(source.path).suffix in {".csv", ".tsv"}:
        path, name = resolve_path(root, source.path), source.url_column
        if path.is_file():
            tables = [(path, read_rows(path, path.read_bytes(), source.columns))]
    for path, rows in tables:
        used = {source.checksum_column or ""} if isinstance(source, ListSource) else set()
        parsed = parse_rows(path, rows, name, used)
        yield from ((row.where, labels) for row, (_, labels) in zip(rows, parsed, strict=True))
