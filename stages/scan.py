"""Look at every source and write what they hold as digests, so that `dvc repro` sees new images.

Enters: the sources of `download.sources`. Leaves: `data/sources.json`, which holds, per source, a
digest over names and contents, the label table included, and, per stage, `data/code/<stage>`, what
its code is (`darkroom.core.code_digest`); each is rewritten only when that changes.
Contents are hashed once per path, size and time (cached in `.darkroom/scan/`); of remote files only
what their server says is looked at. A source that is absent on this machine, or cannot be reached,
keeps its entry, with a warning. Ratings beyond `train.scale` stop here, before any work. Run alone
with `python -m stages.scan`.
"""

import json
import logging
from pathlib import Path
from typing import Any

from darkroom.core.code_digest import write_stage_code
from darkroom.core.errors import UserError
from darkroom.core.files import write_bytes, write_json
from darkroom.core.params.download import DownloadParams, Source
from darkroom.core.params.whole import Params
from darkroom.core.script import run_as_script
from darkroom.sources.kinds.dispatch import open_source
from darkroom.sources.label_tables.fit import check_ratings

TARGET = Path("data/sources.json")
FITS = Path(".darkroom/scan/fits.json")  # the sources and settings whose ratings have been checked

logger = logging.getLogger(__name__)


def run(root: Path, params: Params) -> None:
    """Write `data/sources.json`, if any source has changed."""
    before = read_sources(root / TARGET)
    settings = params.download
    now = {source.title: describe(source, root, settings, before) for source in settings.sources}
    look_at_ratings(root, params, now)
    if now != before:
        write_json(root / TARGET, now)
    code = write_stage_code(root)
    logger.info(
        "scan: %d sources, %s; %s",
        len(now), "changed" if now != before else "unchanged",
        f"changed code of {', '.join(code)}" if code else "code unchanged",
    )  # fmt: skip


def look_at_ratings(root: Path, params: Params, now: dict[str, Any]) -> None:
    """Raise UserError where label tables do not fit train.scale; once per sources and settings."""
    tabled = (getattr(each, "labels", each.kind == "list") for each in params.download.sources)
    if params.train.task != "rating" or not any(tabled):
        return
    columns = params.download.model_dump(mode="json")["sources"]
    known = [now, columns, params.train.scale.model_dump(), params.evaluate.cutoff]
    fits = json.dumps(known).encode()
    if (root / FITS).exists() and (root / FITS).read_bytes() == fits:
        return
    if odd := check_ratings(root, params):
        logger.warning("scan: %s", odd)
    else:
        write_bytes(root / FITS, fits)


def read_sources(path: Path) -> dict[str, Any]:
    """Return the entries of the last scan; none when there was none."""
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}; delete it and run again") from error
    if not isinstance(entries, dict):
        raise UserError(f"{path}: expected an entry per source; delete it and run again")
    return entries


def describe(
    source: Source, root: Path, params: DownloadParams, before: dict[str, Any]
) -> dict[str, Any]:
    """Return the entry of one source; the one of `before` if the source is not on this machine."""
    opened = open_source(source, root, params)
    if source.title in before and not opened.is_present():
        logger.warning("scan: source %s is not on this machine; what was known stays", source.title)
        return dict(before[source.title])
    return opened.describe()


if __name__ == "__main__":
    run_as_script(run, Params)
