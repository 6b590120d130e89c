"""Contact sheets: a few images of each kind, chosen the same way every time, as small JPEGs."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from darkroom.core.shards import Place, read_member, stored
from darkroom.images.decode import DecodeError, Pixels, decode, decode_at_least, resize

REJECTED, GROUPS, COPIES, PARENTS, VARIANTS = 24, 12, 5, 12, 3  # how many of each are shown
SIDE_PX = 144  # long side of a thumbnail: about 5 KB each, the page stays below 3 MB
QUALITY = 80
MINIATURE_PX, MINIATURE_QUALITY = 88, 72  # about 2 KB each, where there are many


class Frame(NamedTuple):
    """One image on a sheet: its picture (None where it does not decode) and what is said of it."""

    picture: str | None  # a data: URI
    title: str
    caption: str
    detail: str = ""


class Group(NamedTuple):
    """A representative or parent first, then its copies or variants, and how many are not shown."""

    first: Frame
    others: tuple[Frame, ...]
    more: int


class Album:
    """The images of `data/raw` or `data/augmented`, read by key."""

    def __init__(self, folder: Path, index: pd.DataFrame) -> None:
        """Note where each key lies; nothing is read yet."""
        self.folder = folder
        self._places = stored(index).set_index("key")

    def content(self, key: str) -> bytes | None:
        """Return the bytes of an image, None when the key is not stored."""
        if key not in self._places.index:
            return None
        row = self._places.loc[key]
        place = Place(str(row["shard"]), int(row["offset"]), int(row["size"]))
        return read_member(self.folder, place)

    def thumbnail(self, key: str) -> str | None:
        """Return a small JPEG as data: URI, None when the key is not stored or does not decode."""
        content = self.content(key)
        try:
            return None if content is None else data_uri(thumbnail(decode(content), SIDE_PX))
        except DecodeError:
            return None

    def miniature(self, key: str) -> str | None:
        """Return a thumbnail of half the size, of an image that clean has found whole."""
        content = self.content(key)
        try:
            if content is None:
                return None
            small = thumbnail(decode_at_least(content, MINIATURE_PX), MINIATURE_PX)
            return data_uri(small, MINIATURE_QUALITY)
        except DecodeError:
            return None


def thumbnail(pixels: Pixels, side_px: int) -> Pixels:
    """Return an image that fits into a square of this side."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    return resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def data_uri(pixels: Pixels, quality: int = QUALITY) -> str:
    """Return pixels as JPEG in a data: URI."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), options)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def turned_away(index: pd.DataFrame, summary: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Return `key`, `reason`, `title` and `stage` of all that went, except copies."""
    names = first_names(index)
    failed = index[index["status"] == "failed"]
    judged = summary[(summary["status"] != "kept") & summary["key"].isin(names)]
    turned = groups[(groups["status"] == "rejected") & (groups["reason"] == "label_conflict")]
    columns = ["key", "reason", "title", "stage"]
    rows = pd.concat([
        failed.assign(title=failed["name"], stage="download")[columns],
        judged.assign(title=judged["key"].map(names), stage="clean")[columns],
        turned.assign(title=turned["key"].map(names), stage="dedupe")[columns],
    ])  # fmt: skip
    return rows.sort_values(["stage", "reason", "title"], ignore_index=True)


def rejected_frames(album: Album, rows: pd.DataFrame, summary: pd.DataFrame) -> list[Frame]:
    """Return some of `turned_away`, every reason in turn.

    Only images that clean decoded are decoded here: the others may crash a decoder.
    """
    turn = rows.groupby("reason", dropna=False).cumcount()
    chosen = rows.assign(turn=turn).sort_values(["turn"], kind="stable").head(REJECTED).sort_index()
    whole = set(summary.loc[summary["blurry_score"].notna(), "key"])
    return [
        Frame(
            album.thumbnail(row.key) if row.key in whole else None,
            str(row.title), _words(row.reason), f"by {row.stage}",
        )
        for row in chosen.itertuples()
    ]  # fmt: skip


def copies_of(groups: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of copies: those that another image represents."""
    copies = groups[groups["representative"].notna() & (groups["status"] == "rejected")]
    return copies[copies["representative"] != copies["key"]]


def duplicate_groups(
    album: Album, index: pd.DataFrame, groups: pd.DataFrame, pairs: pd.DataFrame
) -> list[Group]:
    """Return the largest groups of copies: the representative, then its copies by similarity."""
    alike = similarities(pairs)
    names = first_names(index)
    copies = copies_of(groups)
    sizes = copies["representative"].value_counts()
    order = sorted(sizes.index, key=lambda key: (-int(sizes[key]), key))[:GROUPS]
    records = groups.set_index("key")["records"].to_dict()
    found = []
    for best in order:
        members = [
            (alike.get(frozenset((best, row.key))), row.key, row.reason)
            for row in copies[copies["representative"] == best].itertuples()
        ]
        members.sort(key=lambda m: (-(m[0] or 0.0), m[1]))
        others = tuple(
            Frame(
                album.thumbnail(key), names.get(key, key),
                "through another copy" if likeness is None else f"cosine {likeness:.3f}",
                _several(records.get(key, 1), "" if reason == "copy" else _words(reason)),
            )
            for likeness, key, reason in members[:COPIES]
        )  # fmt: skip
        first = Frame(album.thumbnail(best), names.get(best, best), "kept",
                      _several(records.get(best, 1), ""))  # fmt: skip
        found.append(Group(first, others, len(members) - len(others)))
    return found


def augmented_groups(
    album: Album, new: Album, index: pd.DataFrame, augmented: pd.DataFrame
) -> list[Group]:
    """Return parents, evenly over their keys, each beside its first variants."""
    names = first_names(index)
    parents = sorted(augmented["parent"].unique())
    shown = min(PARENTS, len(parents))
    found = []
    for parent in [parents[number * len(parents) // shown] for number in range(shown)]:
        rows = augmented[augmented["parent"] == parent].sort_values("variant")
        frames = tuple(
            Frame(new.thumbnail(row.key), _details(row.operations), _chain(row.operations))
            for row in rows.head(VARIANTS).itertuples()
        )
        first = Frame(album.thumbnail(parent), names.get(parent, parent), "original")
        found.append(Group(first, frames, len(rows) - len(frames)))
    return found


def first_names(index: pd.DataFrame) -> Mapping[str, str]:
    """Return the first name under which each key arrived."""
    arrived = index[(index["status"] == "kept") & index["key"].notna()]
    arrived = arrived.sort_values(["source", "name"]).drop_duplicates("key")
    return dict(zip(arrived["key"], arrived["name"], strict=True))


def similarities(pairs: pd.DataFrame) -> dict[frozenset[str], float]:
    """Return the similarity of each pair of keys, in whichever order it is asked for."""
    rows = pairs[["key_a", "key_b", "similarity"]].itertuples(index=False)
    return {frozenset((a, b)): float(likeness) for a, b, likeness in rows if likeness == likeness}


def _steps(operations: Any) -> list[dict[str, Any]]:
    """Return the chain of operations that augment wrote as JSON; none for any other text."""
    try:
        steps = json.loads(operations)
    except (TypeError, ValueError):
        return []
    return steps if isinstance(steps, list) and all(isinstance(s, dict) for s in steps) else []


def _chain(operations: Any) -> str:
    names = [_words(step.get("name")) for step in _steps(operations)]
    return ", ".join(names) or str(operations)


def _details(operations: Any) -> str:
    values = [
        f"{_words(name)} {round(value, 2) if isinstance(value, float) else value}"
        for step in _steps(operations)
        for name, value in step.items()
        if name != "name"
    ]
    return ", ".join(values)


def _several(records: Any, reason: str) -> str:
    same = f"{int(records)} identical files" if records > 1 else ""
    return ", ".join(part for part in (reason, same) if part)


def _words(reason: Any) -> str:
    return str(reason).replace("_", " ") if isinstance(reason, str) else "no reason given"
