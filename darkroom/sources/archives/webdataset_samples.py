"""The samples of one WebDataset shard: its images, each with the labels that lie beside it.

Members of one sample share the name up to the first dot of the file name and follow each other.
An image is recognised by its extension or its bytes. Labels come from `.json` (label, mean, std,
rating_1 …, group, split) and `.cls` (a class); all else is passed over, with a log line.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.images.find_files import IMAGE_EXTENSIONS
from darkroom.images.formats import sniff_extension
from darkroom.sources.archives import tar
from darkroom.sources.archives.decompress import Limits
from darkroom.sources.archives.formats import detect_format
from darkroom.sources.archives.members import BrokenArchive, Member, refuse_duplicates
from darkroom.sources.entries import Labels, Unreadable
from darkroom.sources.label_tables.match import parse_row, rating_columns
from darkroom.sources.label_tables.read import item_row

logger = logging.getLogger(__name__)

MAX_SIDE_BYTES = 2**20  # of a .json or .cls
UNKNOWN = "bin"  # the extension of bytes that are no image, as data/raw names them


def read_samples(path: Path, title: str, limits: Limits) -> Iterator[Member]:
    """Yield the images of one shard, each with what its sample says; `title` names it in logs.

    What concerns the shard as a whole has no name.
    """
    try:
        kind = detect_format(path, limits)
    except BrokenArchive as fault:
        yield Member.refused("", fault.reason)
        return
    if kind != "tar":
        yield Member.refused("", "not_an_archive")
        return
    ignored: Counter[str] = Counter()
    members = refuse_duplicates(tar.read_members(path, limits, ""))
    yield from refuse_duplicates(_images(title, members, limits, ignored))
    if ignored:
        kinds = ", ".join(f"{count} .{kind}" for kind, count in ignored.most_common(5))
        logger.info("%s: members that are no images: %s", title, kinds)


def _images(
    title: str, members: Iterable[Member], limits: Limits, ignored: Counter[str]
) -> Iterator[Member]:
    wrong, first = 0, None
    for sample, group in groupby(members, key=lambda member: _split(member.name)[0]):
        images: list[Member] = []
        side: dict[str, bytes] = {}
        room = 2 * limits.file_bytes  # that one sample may take in memory
        for member in group:
            kind = _split(member.name)[1]
            held = _hold_image(member, kind, room, side, ignored)
            if held is not None:
                images.append(held[0])
                room -= held[1]
        if not images and sample:
            yield Member.refused(sample, "no_image")
        try:
            labels = _labels(f"{title}/{sample}", side)
        except (ValueError, RecursionError, UserError) as error:
            wrong, first, labels = wrong + 1, first or error, Labels()
        for image in images:
            yield Member(image.name, image.read, labels)
    if wrong:
        logger.warning(
            "%s: %d samples have labels that cannot be read, and stay without; the first: %s",
            title, wrong, first,
        )  # fmt: skip


def _hold_image(
    member: Member, kind: str, room: int, side: dict[str, bytes], ignored: Counter[str]
) -> tuple[Member, int] | None:
    """Return an image with its bytes held, and their number; put aside what says something."""
    last = kind.rpartition(".")[2]
    try:
        content = member.read()
    except Unreadable as failure:
        return Member.refused(member.name, failure.reason), 0
    if kind in {"json", "cls"} and len(content) <= MAX_SIDE_BYTES:
        side[kind] = content
        return None
    if f".{last}" not in IMAGE_EXTENSIONS | {f".{UNKNOWN}"} and sniff_extension(content) == UNKNOWN:
        ignored[last] += 1
        return None
    if len(content) > room:
        return Member.refused(member.name, "too_large"), 0
    return Member(member.name, partial(bytes, content)), len(content)


def _split(name: str) -> tuple[str, str]:
    """Return the key of a sample and the extension of one member, as WebDataset does."""
    folder, slash, base = name.rpartition("/")
    key, _, kind = base.partition(".")
    return f"{folder}{slash}{key}", kind.lower()


def _labels(where: str, side: dict[str, bytes]) -> Labels:
    """Return what the .json and .cls of a sample say. Raises ValueError, UserError."""
    item = json.loads(side.get("json", b"{}"))
    row = item_row(where, item if isinstance(item, dict) else {})
    if not row.get("label") and "cls" in side:
        row["label"] = side["cls"].decode().strip()
    return parse_row(row, rating_columns(Path(where), row))
