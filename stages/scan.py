"""Look at every source and write what they hold as digests, so that `dvc repro` sees new images.

Enters: the sources of `download.sources`. Leaves: `data/sources.json`, which holds, per source, a
digest over names and contents, the label table included; it is rewritten only when that changes.
Contents are hashed once per path, size and time (cached in `.darkroom/scan/`). A source that is
absent on this machine keeps its entry, with a warning. Run alone with `python -m stages.scan`.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from stages.lib.failures import UserError
from stages.lib.files import write_json
from stages.lib.params import FolderSource, ListSource, Params, Source
from stages.lib.script import run_as_script
from stages.sources import folder, photographs, weblist
from stages.sources.places import cache_of, is_present

TARGET = Path("data/sources.json")

logger = logging.getLogger(__name__)


def run(root: Path, params: Params) -> None:
    """Write `data/sources.json`, if any source has changed."""
    before = read_sources(root / TARGET)
    found = {source.title: describe(source, root, before) for source in params.download.sources}
    if found != before:
        write_json(root / TARGET, found)
    logger.info("scan: %d sources, %s", len(found), "changed" if found != before else "unchanged")


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


def describe(source: Source, root: Path, before: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of one source; the one of `before` if the source is not on this machine."""
    if not is_present(source, root) and source.title in before:
        logger.warning("scan: source %s is not on this machine; what was known stays", source.title)
        return dict(before[source.title])
    if isinstance(source, FolderSource):
        return _describe_folder(source, root)
    if isinstance(source, ListSource):
        content = weblist.read_content(source, root)
        return {"kind": "list", "digest": hashlib.sha256(content).hexdigest()}
    return {"kind": "sample", "digest": photographs.digest()}


def _describe_folder(source: FolderSource, root: Path) -> dict[str, Any]:
    files = folder.list_files(source, root, cache_of(root, source))
    lines = [f"{file.name}\0{file.key or file.reason}\n" for file in files]
    table = folder.label_table(source, root)
    if table is not None:
        lines.append(f"\0labels\0{hashlib.sha256(table.read_bytes()).hexdigest()}\n")
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {"kind": "folder", "files": len(files), "digest": digest}


if __name__ == "__main__":
    run_as_script(run)
