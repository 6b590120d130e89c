"""Measure one image: size, format, whether it decodes, and its scores; and write its preview.

Thresholds come later. A part of `data/clean/parts` and the shard of previews beside it are pure
functions of the bytes in one shard, so that a change of any threshold decodes nothing again.
"""

import tarfile
from dataclasses import dataclass, field
from typing import Any

import cv2
import pandas as pd
import pyarrow as pa

from darkroom.checks.scores import GREY_MODES, Scores, score
from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.tables import null_to_none
from darkroom.images import decode, previews
from darkroom.images.colours import is_deep
from darkroom.images.errors import OUT_OF_MEMORY
from darkroom.images.grey_range import SIXTEEN_BITS, GreyRange
from darkroom.workers.mapper import ShardTask

# Raise when the same bytes give other measurements.
VERSION = f"7, previews {previews.VERSION}"

MEASUREMENTS = {
    "width": pa.int64(),  # of the upright image
    "height": pa.int64(),
    "format": pa.string(),
    "mode": pa.string(),  # as Pillow calls how the file stores a pixel
    "bytes": pa.int64(),
    **{name: pa.float64() for name in Scores._fields},
}
WHERE = ("preview_offset", "preview_size")  # null: the original is small, or does not decode
PARTS = pa.schema(
    {
        "key": pa.string(),
        "fault": pa.string(),
        "fault_detail": pa.string(),
        "odd_structure": pa.bool_(),  # something beside the picture is broken
        **MEASUREMENTS,
        "largest_grey": pa.int64(),  # of 16 bit greys
        "grey_range": pa.string(),  # over which a deep grey was shown, as measured
        **dict.fromkeys(WHERE, pa.int64()),
    }
)
_READ = (
    "width",
    "height",
    "format",
    "mode",
    "odd_structure",
    "largest_grey",
)  # of what was decoded

Row = dict[str, Any]


@dataclass(frozen=True)
class MeasureSettings:
    """What a measurement depends on, beside the image."""

    max_pixels: int
    timeout_s: float
    max_memory_bytes: int
    # No part of what makes a part out of date: rows say for themselves.
    grey_range: GreyRange = field(default=SIXTEEN_BITS, repr=False)


def of_another_range(parts: pd.DataFrame, grey_range: GreyRange) -> "pd.Series[bool]":
    """Return which rows are of deep greys that were shown over another range."""
    return parts["grey_range"].notna() & (parts["grey_range"] != str(grey_range))


def measure_shard(task: ShardTask) -> None:
    """Write previews and part of one shard: one row per image, also for those that killed a worker.

    What the last run has of these images is taken from there.
    """
    settings: MeasureSettings = task.settings
    cv2.setNumThreads(1)  # the workers share the cores already
    sizes = dict(zip(task.members["key"], task.members["size"], strict=True))
    rows, small = known_images(task)
    for key, reason in task.poisoned.items():
        rows[key] = {"fault": reason, "bytes": sizes[key]}
    for key, content in task.images():
        if key not in rows:
            with task.guard(key, settings.timeout_s, settings.max_memory_bytes):
                rows[key], preview = measure(content, settings.max_pixels, settings.grey_range)
            if preview is not None:
                small[key] = preview
    if task.beside is not None:
        keys = [key for key in sizes if key in small]  # in the order of the shard
        places = shards.write_shard(task.beside, ((f"{key}.jpg", small[key]) for key in keys))
        for key, place in zip(keys, places, strict=True):
            rows[key] |= dict(zip(WHERE, place[1:], strict=True))
    frame = pd.DataFrame([{**row, "key": key} for key, row in rows.items()])
    frame = frame.reindex(columns=PARTS.names)
    for name in ("width", "height", "bytes", "largest_grey", *WHERE):
        frame[name] = frame[name].astype("Int64")  # a fault has no size, and null is no number
    frame["odd_structure"] = frame["odd_structure"].astype("boolean")
    tables.write_table(frame, task.part, PARTS)


def known_images(task: ShardTask) -> tuple[dict[str, Row], dict[str, bytes]]:
    """Return row and preview, by key, of the members that the last part has; of none if broken."""
    if not (task.reusable and task.beside):
        return {}, {}
    members = set(task.members["key"])
    try:
        part = tables.read_table(task.part, PARTS).astype(object)
        part = part[~of_another_range(part, task.settings.grey_range)]
        places = dict(shards.read_locations(task.beside))
        small = {
            key: shards.read_member(task.beside.parent, places[key])
            for key in part.loc[part["preview_size"].notna(), "key"]
            if key in members
        }
    except (OSError, KeyError, ValueError, UserError, tarfile.TarError):
        return {}, {}
    rows = part[part["key"].isin(members)].drop(columns=list(WHERE)).to_dict("records")
    return {row["key"]: {k: null_to_none(v) for k, v in row.items()} for row in rows}, small


def measure(
    content: bytes, max_pixels: int, grey_range: GreyRange = SIXTEEN_BITS
) -> tuple[Row, bytes | None]:
    """Return the row of one image, without its key, and its preview.

    What could not be measured is absent from the row.
    """
    row: Row = {"bytes": len(content)}
    try:
        image = decode.read_image(content, max_pixels, previews.SIDE_PX, grey_range)
        deep = is_deep(image.mode)
        row["grey_range"] = str(grey_range) if deep else None
        row |= {name: getattr(image, name) for name in _READ}
        grey = image.mode in GREY_MODES
        row |= score(image.pixels, image.quantization, grey)._asdict()
        return row, previews.encode_preview(image.pixels, image.width, image.height, deep)
    except decode.DecodeError as error:
        row |= {"fault": error.reason, "fault_detail": error.detail or None}
    except (MemoryError, cv2.error) as error:  # the picture fitted, what is measured on it did not
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        row |= {"fault": OUT_OF_MEMORY}
    return row, None
