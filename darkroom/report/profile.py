"""What the kept images are like: sizes, formats, tones, mean images; as charts and as tables."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from darkroom.report import eigenimages, histograms, label_distribution, pixel_sample
from darkroom.report.charts import FIFTHS, Axis
from darkroom.report.eigenimages import Eigenimages
from darkroom.report.image_store import ImageStore
from darkroom.report.params import ReportParams

MAX_CLASSES = 8  # of which a mean image is shown, the largest
SCORE_THIRDS = ("lowest third", "middle third", "highest third")
MAX_FORMATS = 6  # of format and mode, listed
BINS = 30
RATIO_BINS = 31  # bins, an odd number, so that square images have one of their own
KB = 1000.0


class ClassProfile(NamedTuple):
    """A class or a range of scores: what it is, of how many images, their mean and components."""

    name: str
    detail: str
    images: int
    eigenimages: Eigenimages


def describe(
    store: ImageStore, kept: pd.DataFrame, summary: pd.DataFrame, params: ReportParams
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Return what the section shows of `kept_images`, and its plots' data by name.

    Charts are None where no image is kept.
    """
    columns = ["key", "width", "height", "format", "mode", "bytes"]
    whole = summary.loc[summary["status"] == "kept", columns]
    images = kept.merge(whole, on="key").sort_values("key", ignore_index=True)
    classes, more = _group_by_label(images, params)
    samples, chosen = _sample_pixels(store, images, [keys for _, _, keys in classes])
    sampled = [samples[key] for key in chosen[0] if key in samples]
    tones = pixel_sample.mean_histograms(sampled)
    brightness = histograms.count([sample.brightness for sample in sampled], 0, 1, BINS)
    sides = images[["width", "height"]].to_numpy(float)
    ends = (float(sides.min()), float(sides.max())) if sides.size else (1, 10)
    size_axis = histograms.log_axis("width, px", *ends)
    sizes = histograms.count_sizes(images["width"], images["height"], size_axis)
    aspects = _count_aspects(images)
    brightness_axis = Axis("mean brightness", 0, 1, FIFTHS)
    profile = {
        "images": len(images),
        "facts": _describe_sizes(images) if len(images) else [],
        "formats": _count_formats(images),
        "sizes": histograms.size_chart(sizes, size_axis) if len(images) else None,
        "aspects": _aspect_chart(aspects) if len(images) else None,
        "bytes": _byte_chart(images) if len(images) else None,
        "sampled": len(sampled),
        "tones": histograms.tone_curves(tones.tolist()) if sampled else None,
        # per cent of the pixels of a channel in its lowest bin, and in its highest
        "black": 100 * float(tones[:, 0].mean()),
        "white": 100 * float(tones[:, -1].mean()),
        "brightness": histograms.bars(brightness, brightness_axis, "Images by brightness")
        if sampled else None,
        "classes": [
            ClassProfile(name, detail, len(keys), eigenimages.describe(_stack(samples, some)))
            for (name, detail, keys), some in zip(classes, chosen[1:], strict=True)
        ],
        "other_classes": more,
    }  # fmt: skip
    channels = pd.DataFrame(tones.T, columns=["red", "green", "blue"])
    channels.insert(0, "level", (np.arange(len(channels)) + 0.5) * 256 / len(channels))
    plots = {
        "aspect_ratios": aspects.rows("width_by_height"),
        "brightness": brightness.rows("mean_brightness"),
        "channels": channels,
        "sizes": sizes,
        **label_distribution.plot_tables(images, params),
    }
    return profile, plots


def _sample_pixels(
    store: ImageStore, images: pd.DataFrame, groups: list[pd.Series]
) -> tuple[dict[str, pixel_sample.PixelSample], list[list[str]]]:
    """Return the samples by key, and the keys chosen from all images and from each group."""
    share = pixel_sample.MAX_IMAGES // max(len(groups), 1)
    chosen = [pixel_sample.choose_keys(images["key"], pixel_sample.MAX_IMAGES)]
    chosen += [pixel_sample.choose_keys(keys, share) for keys in groups]
    every = sorted({key for keys in chosen for key in keys})
    return pixel_sample.sample_images(store, every), chosen


def _stack(samples: dict[str, pixel_sample.PixelSample], keys: list[str]) -> NDArray[np.uint8]:
    squares = [samples[key].square for key in keys if key in samples]
    return np.array(squares, np.uint8).reshape(-1, pixel_sample.SIDE_PX, pixel_sample.SIDE_PX, 3)


def _group_by_label(
    images: pd.DataFrame, params: ReportParams
) -> tuple[list[tuple[str, str, pd.Series]], int]:
    """Return (name, detail, keys) per class or third of the scores, and how many classes more."""
    if label_distribution.shows_ratings(images, params):
        return _thirds(images[images["score"].notna()]), 0
    classes = label_distribution.count_classes(images)
    if not classes:
        return ([("all images", "", images["key"])] if len(images) else []), 0
    groups = [(row.name, "", images.loc[images["label"] == row.name, "key"])
             for row in classes[:MAX_CLASSES]]  # fmt: skip
    return groups, max(0, len(classes) - MAX_CLASSES)


def _thirds(rated: pd.DataFrame) -> list[tuple[str, str, pd.Series]]:
    """Return the thirds by score; equal scores stay together, so that a third may be empty."""
    first, second = rated["score"].quantile([1 / 3, 2 / 3])
    third = (rated["score"] > first).astype(int) + (rated["score"] > second)
    thirds = []
    for number, name in enumerate(SCORE_THIRDS):
        part = rated[third == number]
        if len(part):
            ends = f"{part['score'].min():.3g} to {part['score'].max():.3g}"
            thirds.append((name, f"mean scores of {ends}", part["key"]))
    return thirds


def _describe_sizes(images: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what the images come to, in words."""
    width, height = images["width"].astype(float), images["height"].astype(float)
    area, size = width * height, images["bytes"].astype(float)
    least, most = area.idxmin(), area.idxmax()
    return [
        ("median width and height", f"{width.median():,.0f} × {height.median():,.0f} px"),
        ("smallest image", f"{width[least]:,.0f} × {height[least]:,.0f} px"),
        ("largest image", f"{width[most]:,.0f} × {height[most]:,.0f} px"),
        ("pixels in all", f"{area.sum() / 1e6:,.1f} million"),
        ("bytes in all", f"{size.sum() / 1e6:,.1f} MB"),
        ("median file", f"{size.median() / KB:,.1f} kB"),
    ]


def _count_formats(images: pd.DataFrame) -> list[tuple[str, int]]:
    """Return format and mode of the files, most frequent first; the last row may be the rest."""
    names = images["format"].fillna("?") + " " + images["mode"].fillna("?")
    counts = sorted(names.value_counts().items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(number for _, number in counts[MAX_FORMATS:])
    return counts[:MAX_FORMATS] + ([("others", rest)] if rest else [])


def _count_aspects(images: pd.DataFrame) -> histograms.Bins:
    ratios = images["width"].astype(float) / images["height"].astype(float)
    farthest = float(np.abs(np.log2(ratios)).max()) if len(ratios) else 1.0
    ends = float(2 ** max(1, math.ceil(farthest - 1e-9)))
    return histograms.count(ratios, 1 / ends, ends, RATIO_BINS, logarithmic=True)


def _aspect_chart(counted: histograms.Bins) -> Markup:
    """Draw aspect ratios on a logarithmic axis that is as wide to both sides of 1:1."""
    doublings = round(counted.edges[-1] / math.log10(2))
    step = math.ceil(doublings / 4)
    powers = range(0, doublings + 1, step)
    ticks = {float(2**power): f"{2**power}:1" for power in powers}
    ticks |= {1 / tick: f"1:{tick:.0f}" for tick in ticks}
    if doublings <= 2:
        ticks |= {1.5: "3:2", 1 / 1.5: "2:3"}
    ratios = sorted(ticks)
    x_axis = Axis(
        "width : height", counted.edges[0], counted.edges[-1],
        tuple(map(math.log10, ratios)), tuple(ticks[ratio] for ratio in ratios),
    )  # fmt: skip
    return histograms.bars(counted, x_axis, "Images by aspect ratio")


def _byte_chart(images: pd.DataFrame) -> Markup:
    sizes = images["bytes"].astype(float) / KB
    x_axis = histograms.log_axis("file size, kB", float(sizes.min()), float(sizes.max()))
    counted = histograms.count(sizes, 10**x_axis.low, 10**x_axis.high, BINS, logarithmic=True)
    return histograms.bars(counted, x_axis, "Images by file size")
