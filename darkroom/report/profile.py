"""What the kept images are like: sizes, formats, tones, mean images; as drawings and as tables."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from darkroom.report import eigenimages, histograms, label_distribution, pixel_sample
from darkroom.report.charts import FIFTHS, Axis
from darkroom.report.params import ReportParams
from darkroom.report.thumbnails import Album

CLASSES = 8  # of which a mean image is shown, the largest
THIRDS = ("lowest third", "middle third", "highest third")
KINDS = 6  # of format and mode, listed
BINS = 30
RATIOS = 31  # bins, an odd number, so that square images have one of their own
KB = 1000.0


class Kind(NamedTuple):
    """How files are stored: format, Pillow's mode, and how many there are."""

    name: str
    images: int


class Face(NamedTuple):
    """A class or a range of scores: what it is, of how many images, their mean and components."""

    name: str
    detail: str
    images: int
    eigen: eigenimages.Eigen


class Profile(NamedTuple):
    """What the section shows; drawings are None where no image is kept."""

    images: int
    facts: tuple[tuple[str, str], ...]
    kinds: tuple[Kind, ...]
    sizes: Markup | None
    aspects: Markup | None
    bytes: Markup | None
    sampled: int
    tones: Markup | None
    black: float  # per cent of the pixels of a channel in its lowest bin, and in its highest
    white: float
    brightness: Markup | None
    faces: tuple[Face, ...]
    other_classes: int


def describe(
    album: Album, kept: pd.DataFrame, summary: pd.DataFrame, params: ReportParams
) -> tuple[Profile, dict[str, pd.DataFrame]]:
    """Return the profile of `labels.kept_images`, and the data of its plots by name."""
    columns = ["key", "width", "height", "format", "mode", "bytes"]
    whole = summary.loc[summary["status"] == "kept", columns]
    images = kept.merge(whole, on="key").sort_values("key", ignore_index=True)
    faces, more = _groups(images, params)
    looks, chosen = _look(album, images, [keys for _, _, keys in faces])
    some = [looks[key] for key in chosen[0] if key in looks]
    tones = pixel_sample.mean_tones(some)
    brightness = histograms.count([look.brightness for look in some], 0, 1, BINS)
    extent = _extent(images)
    cells = histograms.cells(images["width"], images["height"], extent)
    aspects = _count_aspects(images)
    profile = Profile(
        images=len(images),
        facts=tuple(_facts(images)),
        kinds=_kinds(images),
        sizes=histograms.size_chart(cells, extent) if len(images) else None,
        aspects=_aspect_chart(aspects) if len(images) else None,
        bytes=_byte_chart(images) if len(images) else None,
        sampled=len(some),
        tones=histograms.tone_curves(tones.tolist()) if some else None,
        black=100 * float(tones[:, 0].mean()),
        white=100 * float(tones[:, -1].mean()),
        brightness=histograms.bars(brightness, Axis("mean brightness", 0, 1, FIFTHS),
                             "Images by brightness") if some else None,
        faces=tuple(
            Face(name, detail, len(keys), eigenimages.describe(_squares(looks, part)))
            for (name, detail, keys), part in zip(faces, chosen[1:], strict=True)
        ),
        other_classes=more,
    )  # fmt: skip
    channels = pd.DataFrame(tones.T, columns=["red", "green", "blue"])
    channels.insert(0, "level", (np.arange(len(channels)) + 0.5) * 256 / len(channels))
    plots = {
        "aspect_ratios": aspects.rows("width_by_height"),
        "brightness": brightness.rows("mean_brightness"),
        "channels": channels,
        "sizes": cells,
        **label_distribution.plots(images, params),
    }
    return profile, plots


def _look(
    album: Album, images: pd.DataFrame, groups: list[pd.Series]
) -> tuple[dict[str, pixel_sample.Look], list[list[str]]]:
    """Return the looks of the sample, and the keys chosen from all images and from each group."""
    cost = pixel_sample.costs(images)
    share = pixel_sample.MOST // max(len(groups), 1)
    chosen = [pixel_sample.choose(images["key"], pixel_sample.MOST, cost)]
    chosen += [pixel_sample.choose(keys, share, cost) for keys in groups]
    every = sorted({key for keys in chosen for key in keys})
    return pixel_sample.look_at(album, every), chosen


def _squares(looks: dict[str, pixel_sample.Look], keys: list[str]) -> np.ndarray:
    found = [looks[key].square for key in keys if key in looks]
    return (
        np.stack(found)
        if found
        else np.zeros((0, pixel_sample.SIDE_PX, pixel_sample.SIDE_PX, 3), np.uint8)
    )


def _groups(
    images: pd.DataFrame, params: ReportParams
) -> tuple[list[tuple[str, str, pd.Series]], int]:
    """Return (name, detail, keys) per class or third of the scores, and how many classes more."""
    if label_distribution.is_rated(images, params):
        rated = images[images["score"].notna()]
        return _thirds(rated), 0
    classes = label_distribution.class_rows(images)
    if not classes:
        return ([("all images", "", images["key"])] if len(images) else []), 0
    found = [(row.name, "", images.loc[images["label"] == row.name, "key"])
             for row in classes[:CLASSES]]  # fmt: skip
    return found, max(0, len(classes) - CLASSES)


def _thirds(rated: pd.DataFrame) -> list[tuple[str, str, pd.Series]]:
    """Return the thirds by score; equal scores stay together, so that a third may be empty."""
    first, second = rated["score"].quantile([1 / 3, 2 / 3])
    place = (rated["score"] > first).astype(int) + (rated["score"] > second)
    found = []
    for number, name in enumerate(THIRDS):
        part = rated[place == number]
        if len(part):
            ends = f"{part['score'].min():.3g} to {part['score'].max():.3g}"
            found.append((name, f"mean scores of {ends}", part["key"]))
    return found


def _facts(images: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what the images come to, in words."""
    if not len(images):
        return []
    width, height = images["width"].astype(float), images["height"].astype(float)
    area, size = width * height, images["bytes"].astype(float)
    found = []
    for name, place in (("smallest", area.idxmin()), ("largest", area.idxmax())):
        found.append((f"{name} image", f"{width[place]:,.0f} × {height[place]:,.0f} px"))
    middle = f"{width.median():,.0f} × {height.median():,.0f} px"
    return [
        ("median width and height", middle),
        *found,
        ("pixels in all", f"{area.sum() / 1e6:,.1f} million"),
        ("bytes in all", f"{size.sum() / 1e6:,.1f} MB"),
        ("median file", f"{size.median() / KB:,.1f} kB"),
    ]


def _kinds(images: pd.DataFrame) -> tuple[Kind, ...]:
    """Return format and mode of the files, most frequent first; the last row may be the rest."""
    names = images["format"].fillna("?") + " " + images["mode"].fillna("?")
    counts = sorted(names.value_counts().items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(number for _, number in counts[KINDS:])
    kinds = [Kind(str(name), int(number)) for name, number in counts[:KINDS]]
    return (*kinds, *([Kind("others", int(rest))] if rest else []))


def _extent(images: pd.DataFrame) -> Axis:
    """Return the axis that holds every width and height."""
    sides = images[["width", "height"]].to_numpy(float)
    if not sides.size:
        return histograms.log_axis("width, px", 1, 10)
    return histograms.log_axis("width, px", float(sides.min()), float(sides.max()))


def _count_aspects(images: pd.DataFrame) -> histograms.Bins:
    ratios = images["width"].astype(float) / images["height"].astype(float)
    farthest = float(np.abs(np.log2(ratios)).max()) if len(ratios) else 1.0
    ends = float(2 ** max(1, math.ceil(farthest - 1e-9)))
    return histograms.count(ratios, 1 / ends, ends, RATIOS, logarithmic=True)


def _aspect_chart(counted: histograms.Bins) -> Markup:
    """Draw aspect ratios on a logarithmic axis that is as wide to both sides of 1:1."""
    doublings = round(counted.edges[-1] / math.log10(2))
    step = math.ceil(doublings / 4)
    powers = range(0, doublings + 1, step)
    ticks = {float(2**power): f"{2**power}:1" for power in powers}
    ticks |= {1 / tick: f"1:{tick:.0f}" for tick in ticks}
    if doublings <= 2:
        ticks |= {1.5: "3:2", 1 / 1.5: "2:3"}
    places = sorted(ticks)
    across = Axis(
        "width : height", counted.edges[0], counted.edges[-1],
        tuple(map(math.log10, places)), tuple(ticks[place] for place in places),
    )  # fmt: skip
    return histograms.bars(counted, across, "Images by aspect ratio")


def _byte_chart(images: pd.DataFrame) -> Markup:
    sizes = images["bytes"].astype(float) / KB
    across = histograms.log_axis("file size, kB", float(sizes.min()), float(sizes.max()))
    counted = histograms.count(sizes, 10**across.low, 10**across.high, BINS, logarithmic=True)
    return histograms.bars(counted, across, "Images by file size")
