"""The last word on a rejection: what would go is compared with what stays once more, finely.

Most copies are plainly the same: all of their detail agrees, and they are no drawings. Of the
others (a caption, a tile that differs, a document, where a digit counts) `difference` says whether
they show different things: on their pictures first, where most other shots of one scene are told;
where these show a trace of something that is not enough, and of drawings, on the originals at full
size. What it said is kept from run to run.
"""

import logging
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from darkroom.core import shards
from darkroom.core.graphs import Pair
from darkroom.core.params.engine import EngineParams
from darkroom.core.progress import Progress
from darkroom.dedupe.difference import Difference, differs
from darkroom.dedupe.evidence import QUESTION, PairCache, map_tasks
from darkroom.dedupe.matching import in_pixels
from darkroom.dedupe.verify import Evidence
from darkroom.images import previews
from darkroom.images.decode import DecodeError, Pixels, decode
from darkroom.images.grey_range import read_range

VERSION = "8"  # raise it when the same two pictures are told otherwise
SCHEMA = pa.schema([("key_a", pa.string()), ("key_b", pa.string()), ("differs", pa.bool_())])

PER_TASK = 16
PLAINLY_THE_SAME = 0.95  # agreement of the tile that agrees least
TONE_BITS, FEW_TONES = 3, 0.6  # two greys of 32 that make up so much: a drawing, a document
FULL_SIDE_PX = 800  # what `difference` looks at; a JPEG is decoded no larger than it must be

logger = logging.getLogger(__name__)


class Image(NamedTuple):
    """One of two images: its picture, and its original."""

    key: str
    picture: previews.Place
    original: shards.Location


class Doubt(NamedTuple):
    """Two images that are copies as far as their pictures tell."""

    a: Image
    b: Image
    evidence: Evidence
    covered: bool


def find_different(
    asked: list[Pair],
    pairs: pd.DataFrame,
    pictures: previews.Previews,
    originals: pd.DataFrame,
    evidence: pd.DataFrame,
    cache: PairCache,
    engine: EngineParams,
) -> set[Pair]:
    """Return those of the `asked` pairs that show different things.

    `pairs` holds PAIRS, `originals` (by key) where each original lies, `evidence` what was seen of
    the pairs, and `cache` what was found here before.
    """
    wanted = pd.DataFrame(asked, columns=QUESTION)
    unknown = wanted.merge(cache.table(), "left", QUESTION)
    unknown = unknown.loc[unknown["differs"].isna(), QUESTION].merge(evidence, on=QUESTION)
    unknown = unknown.merge(pairs[[*QUESTION, "decided_by"]], on=QUESTION)
    if len(unknown):
        doubts = [
            Doubt(
                _image(row.key_a, pictures, originals),
                _image(row.key_b, pictures, originals),
                Evidence(*(getattr(row, name) for name in Evidence._fields)),
                row.decided_by == "covered",
            )
            for row in unknown.itertuples()
        ]
        tasks = [doubts[i : i + PER_TASK] for i in range(0, len(doubts), PER_TASK)]
        progress = Progress("dedupe, confirm", len(doubts), "pair")
        found: list[bool] = []
        with map_tasks(engine, len(tasks)) as apply_to_all:
            for part in apply_to_all(confirm_task, repeat(pictures.root), tasks):
                found += part
                progress.advance(len(part))
        progress.finish()
        rows = zip(unknown["key_a"], unknown["key_b"], found, strict=True)
        cache.add(list(rows))
    told = wanted.merge(cache.table(), "left", QUESTION)
    different = told[told["differs"].astype(bool)]
    return set(zip(different["key_a"], different["key_b"], strict=True))


def _image(key: str, pictures: previews.Previews, originals: pd.DataFrame) -> Image:
    place = pictures.place(key)
    shard, offset, size = originals.loc[key, ["shard", "offset", "size"]]
    assert place is not None  # it has been verified
    return Image(key, place, shards.Location(str(shard), int(offset), int(size)))


def confirm_task(root: Path, task: list[Doubt]) -> list[bool]:
    """Return for each pair whether it shows different things."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):  # the workers share the cores already
        return [_differ(root, doubt) for doubt in task]


def _differ(root: Path, doubt: Doubt) -> bool:
    images = doubt.a, doubt.b
    try:
        a, b = (previews.read_picture(root, image.picture) for image in images)
        if is_plain(doubt.evidence, doubt.covered, a):
            return False
        found = _look(a, b, doubt.evidence)
        originals = all(image.picture.folder == str(previews.RAW) for image in images)
        if found.differs or originals or not (found.mass or _is_drawn(a)):
            return found.differs
        a, b = (_read_original(root, image) for image in images)
    except DecodeError as error:
        logger.warning("dedupe: %s: an image that clean could read: %s", doubt.a.key, error)
        return True
    return show_different(a, b, doubt.evidence)


def is_plain(evidence: Evidence, covered: bool, picture: Pixels) -> bool:
    """Return whether two copies are plainly the same; `picture` is one of the two, of any size."""
    return not covered and evidence.worst >= PLAINLY_THE_SAME and not _is_drawn(picture)


def show_different(a: Pixels, b: Pixels, evidence: Evidence) -> bool:
    """Return whether two images of this evidence show different things as far as one can see."""
    return _look(a, b, evidence).differs


def _look(a: Pixels, b: Pixels, evidence: Evidence) -> Difference:
    return differs(a, b, in_pixels(evidence.matrix, a.shape[:2], b.shape[:2]))


def _read_original(root: Path, image: Image) -> Pixels:
    content = shards.read_member(root / previews.RAW, image.original)
    # clean has looked at its size
    return decode(content, min_side=FULL_SIDE_PX, grey_range=read_range(root))


def _is_drawn(pixels: Pixels) -> bool:
    """Return whether two greys make up most of a picture."""
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), np.uint8)
    counts = np.sort(np.bincount(np.ravel(grey >> TONE_BITS)))
    return bool(counts[-2:].sum() >= FEW_TONES * grey.size)
