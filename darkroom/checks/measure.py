"""Measure one image: size, format, whether it decodes, and its scores. Thresholds come later.

A part of `data/clean/parts` is a pure function of the bytes in one shard, so that a change of any
threshold decodes nothing again.
"""

from typing import Any, NamedTuple

import cv2
import pandas as pd
import pyarrow as pa

from darkroom.checks.scores import GREY_MODES, SHORT_SIDE_PX, Scores, score
from darkroom.core import tables
from darkroom.images import decode
from darkroom.images.errors import OUT_OF_MEMORY
from darkroom.workers.mapper import ShardTask

VERSION = "4"  # raise when the same bytes give other measurements

MEASUREMENTS = {
    "width": pa.int64(),  # of the upright image
    "height": pa.int64(),
    "format": pa.string(),
    "mode": pa.string(),  # as Pillow calls how the file stores a pixel
    "bytes": pa.int64(),
    **{name: pa.float64() for name in Scores._fields},
}
PARTS = pa.schema(
    {
        "key": pa.string(),
        "fault": pa.string(),
        "fault_detail": pa.string(),
        "odd_structure": pa.bool_(),  # something beside the picture is broken
        **MEASUREMENTS,
    }
)
_READ = ("width", "height", "format", "mode", "odd_structure")  # of what was decoded


class MeasureSettings(NamedTuple):
    """What a measurement depends on, beside the image."""

    max_pixels: int
    timeout_s: float
    max_memory_bytes: int


def measure_shard(task: ShardTask) -> None:
    """Write the part of one shard: one row per image, also for those that killed a worker."""
    settings: MeasureSettings = task.settings
    cv2.setNumThreads(1)  # the workers share the cores already
    sizes = dict(zip(task.members["key"], task.members["size"], strict=True))
    rows = [
        {"key": key, "fault": reason, "bytes": sizes[key]} for key, reason in task.poisoned.items()
    ]
    for key, content in task.images():
        with task.guard(key, settings.timeout_s, settings.max_memory_bytes):
            rows.append({"key": key, **measure(content, settings.max_pixels)})
    frame = pd.DataFrame(rows).reindex(columns=PARTS.names)
    for name in ("width", "height", "bytes"):
        frame[name] = frame[name].astype("Int64")  # a fault has no size, and null is no number
    frame["odd_structure"] = frame["odd_structure"].astype("boolean")
    tables.write_table(frame, task.part, PARTS)


def measure(content: bytes, max_pixels: int) -> dict[str, Any]:
    """Return the row of one image, without its key; what could not be measured is absent."""
    row: dict[str, Any] = {"bytes": len(content)}
    try:
        image = decode.read_image(content, max_pixels, SHORT_SIDE_PX)
        row |= {name: getattr(image, name) for name in _READ}
        grey = image.mode in GREY_MODES
        row |= score(image.pixels, image.quantization, grey)._asdict()
    except decode.DecodeError as error:
        row |= {"fault": error.reason, "fault_detail": error.detail or None}
    except (MemoryError, cv2.error) as error:  # the picture fitted, what is measured on it did not
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        row |= {"fault": OUT_OF_MEMORY}
    return row
