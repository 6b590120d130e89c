"""The embedded sample: photographs from installed packages, with simulated ratings and faults.

Twenty photographs that scikit-image and scikit-learn carry are cut into patches of 68 px that do
not overlap (`photographs.py`). Each patch is used once: one in seven stays as it is, the others are
degraded by one of six kinds at four levels (`degradations.py`).

**The ratings are simulated.** The true quality of a patch depends on the kind and level of its
fault alone: BEST for none, else QUALITY[level] + HARM[kind]. A panel of PANEL_SIZE raters each
gives that quality plus normal noise of RATER_SPREAD, rounded and kept within 1 to 10. The file's
label is the histogram of their votes over the ten scores; its group is the photograph.

Planted besides the originals, as the `truth` of each file says: corrupt files, exact duplicates
(some with a second panel's conflicting votes), and transformed copies that carry their original's
ratings (`edits.py`). The pipeline never reads it; only tests and benchmarks do. Names are numbered
at random, so they tell nothing either. Everything repeats byte for byte with the same versions of
Pillow, NumPy and the two packages.
"""

import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from darkroom.core.randomness import generator
from darkroom.images import decode
from darkroom.images.formats import sniff_extension
from darkroom.sources.sample.degradations import KINDS, Kind, degrade
from darkroom.sources.sample.edits import EDITS, edit
from darkroom.sources.sample.photographs import PHOTOGRAPHS, Pixels, cut

SEED = 1888  # of the sample alone: params.yaml's seed does not change the data
PANEL_SIZE = 30  # raters per image
RATER_SPREAD = 1.4  # standard deviation of one rater's noise, in scores
SCORES = 10
BEST = 8.4  # quality of an undegraded patch
QUALITY = {1: 7.2, 2: 5.8, 3: 4.2, 4: 2.6}  # by level
HARM: dict[Kind, float] = {
    "blur": -0.3, "noise": 0.0, "jpeg": 0.0, "haze": 0.3, "pixelation": -0.3, "posterisation": 0.2,
}  # fmt: skip
UNDEGRADED = 4  # of the 28 conditions that patches go through; 24 are kind and level
CONFLICT = 4.0  # how far off the second panel of a conflicting duplicate is, in scores

PNG_EVERY = 5  # every fifth original is a PNG, the others JPEG
JPEG_QUALITY = 95
COPY_QUALITY = 92
WRONG_EXTENSIONS = 6  # fine images, named .jpg for PNG and the reverse
COPIES_PER_EDIT = 25
EDITED_ORIGINALS = 181  # some have two copies; no multiple of nine, so by two kinds of edit
EXACT_DUPLICATES = 24
CONFLICTING = 8  # of the exact duplicates
TRUNCATED_AT = (0.02, 0.2, 0.4, 0.6, 0.8, 0.97)  # shares of a JPEG's bytes that are left
PNG_TRUNCATED_AT = (0.3, 0.75)
FLIPPED = 6

Role = Literal["original", "corrupt", "exact_duplicate", "copy"]


class Truth(NamedTuple):
    """What was done to make one file."""

    name: str
    photograph: str
    kind: str | None  # of the fault; None for none
    level: int  # 0 for none
    role: Role
    of: str | None  # name of the original
    transformation: str | None


@dataclass(frozen=True)
class SampleFile:
    """One file of the sample as the pipeline sees it, and the truth, which it does not."""

    content: bytes
    extension: str
    ratings: tuple[int, ...]  # votes for the scores 1 to 10
    group: str
    truth: Truth
    of: int | None = None  # position of the original in the list

    @property
    def name(self) -> str:
        """Return the file's name, as `coffee/007.jpg`."""
        return self.truth.name


@cache
def files() -> tuple[SampleFile, ...]:
    """Make the whole sample, sorted by name; takes seconds, once per process."""
    originals = list(_originals())
    order = generator(SEED, "plan").permutation(len(originals)).tolist()
    for index in order[-WRONG_EXTENSIONS:]:
        originals[index] = _misname(originals[index])
    planted = [
        *_exact_duplicates(originals, order[:EXACT_DUPLICATES]),
        *_copies(originals, order[CONFLICTING : CONFLICTING + EDITED_ORIGINALS]),
        *_corrupt(originals, order[EXACT_DUPLICATES:]),
    ]
    return _named([*originals, *planted])


def _originals() -> Iterator[SampleFile]:
    number = 0
    for photograph in PHOTOGRAPHS:
        for top, left, patch in cut(photograph):
            rng = generator(SEED, "original", photograph.name, top, left)
            kind, level = _condition(number)
            degraded = degrade(patch, kind, level, rng) if kind else patch
            extension = "png" if number % PNG_EVERY == 0 else "jpg"
            votes = panel(true_quality(kind, level), rng)
            truth = Truth("", photograph.name, kind, level, "original", None, None)
            content = _encode(degraded, extension, JPEG_QUALITY)
            yield SampleFile(content, extension, votes, photograph.group, truth)
            number += 1


def _condition(number: int) -> tuple[Kind | None, int]:
    """Give all conditions in each cycle, in random order: every photograph sees nearly all."""
    conditions: list[tuple[Kind | None, int]] = [(None, 0)] * UNDEGRADED
    conditions += [(kind, level) for kind in KINDS for level in QUALITY]
    cycle, index = divmod(number, len(conditions))
    order = generator(SEED, "cycle", cycle).permutation(len(conditions)).tolist()
    return conditions[int(order[index])]


def true_quality(kind: Kind | None, level: int) -> float:
    """Return the quality that the panel sees, on the scale of 1 to 10."""
    return QUALITY[level] + HARM[kind] if kind else BEST


def panel(quality: float, rng: np.random.Generator) -> tuple[int, ...]:
    """Return the votes for the scores 1 to 10 of a simulated panel."""
    scores = np.clip(np.round(rng.normal(quality, RATER_SPREAD, PANEL_SIZE)), 1, SCORES)
    return tuple(np.bincount(scores.astype(int), minlength=SCORES + 1)[1:].tolist())


def _misname(file: SampleFile) -> SampleFile:
    truth = file.truth._replace(transformation="wrong_extension")
    return replace(file, extension="png" if file.extension == "jpg" else "jpg", truth=truth)


def _exact_duplicates(originals: list[SampleFile], chosen: list[int]) -> Iterator[SampleFile]:
    for rank, index in enumerate(chosen):
        file = originals[index]
        ratings, note = file.ratings, "same_label"
        if rank < CONFLICTING:
            quality = float(np.dot(file.ratings, range(1, SCORES + 1)) / PANEL_SIZE)
            other = quality + (CONFLICT if quality < 5 else -CONFLICT)
            ratings, note = panel(other, generator(SEED, "conflict", rank)), "conflicting_label"
        yield _planted(file, index, file.content, file.extension, "exact_duplicate", note, ratings)


def _copies(originals: list[SampleFile], chosen: list[int]) -> Iterator[SampleFile]:
    for number in range(COPIES_PER_EDIT * len(EDITS)):
        kind, index = EDITS[number % len(EDITS)], chosen[number % len(chosen)]
        original = decode.decode(originals[index].content)
        edited, quality = edit(original, kind, generator(SEED, "copy", number))
        content = _encode(edited, "jpg", quality or COPY_QUALITY)
        yield _planted(originals[index], index, content, "jpg", "copy", kind)


def _corrupt(originals: list[SampleFile], chosen: list[int]) -> Iterator[SampleFile]:
    jpegs = iter([p for p in chosen if sniff_extension(originals[p].content) == "jpg"])
    pngs = iter([p for p in chosen if sniff_extension(originals[p].content) == "png"])
    broken: list[tuple[int, bytes, str]] = []
    for indices, shares in ((jpegs, TRUNCATED_AT), (pngs, PNG_TRUNCATED_AT)):
        for share in shares:
            content = originals[index := next(indices)].content
            broken.append((index, content[: int(len(content) * share)], "truncated"))
    broken.append((index := next(jpegs), originals[index].content[:-2], "truncated"))  # no end
    for rank in range(FLIPPED):
        index = next(pngs if rank % 3 == 2 else jpegs)
        broken.append((index, _flip_bytes(originals[index].content, rank), "flipped_bytes"))
    broken += [(next(jpegs), b"", "empty"), (next(jpegs), bytes(4096), "zeros")]
    broken += [(next(jpegs), page.encode(), "html") for page in _HTML]
    for index, content, fault in broken:
        yield _planted(originals[index], index, content, "jpg", "corrupt", fault)


def _flip_bytes(content: bytes, rank: int) -> bytes:
    """Change three bytes, elsewhere until a strict decode finds it: pixels alone can hide some."""
    rng = generator(SEED, "flip", rank)
    while True:
        changed = bytearray(content)
        for at in rng.integers(20, len(content) - 2, 3):
            changed[at] ^= int(rng.integers(1, 256))
        try:
            decode.decode(bytes(changed))
        except decode.DecodeError:
            return bytes(changed)


def _planted(
    original: SampleFile, index: int, content: bytes, extension: str, role: Role,
    transformation: str, ratings: tuple[int, ...] | None = None,
) -> SampleFile:  # fmt: skip
    truth = original.truth._replace(role=role, transformation=transformation)
    votes = original.ratings if ratings is None else ratings
    return SampleFile(content, extension, votes, original.group, truth, of=index)


def _named(made: list[SampleFile]) -> tuple[SampleFile, ...]:
    """Give the files of each photograph random numbers; copies point at names from now on."""
    by_photograph = defaultdict(list)
    for index, file in enumerate(made):
        by_photograph[file.truth.photograph].append(index)
    names = {}
    for photograph, indices in by_photograph.items():
        numbers = generator(SEED, "names", photograph).permutation(len(indices))
        for index, number in zip(indices, numbers.tolist(), strict=True):
            names[index] = f"{photograph}/{number:03d}.{made[index].extension}"
    named = []
    for index, file in enumerate(made):
        of = None if file.of is None else names[file.of]
        named.append(replace(file, truth=file.truth._replace(name=names[index], of=of)))
    return tuple(sorted(named, key=lambda file: file.name))


def _encode(image: Pixels, extension: str, quality: int) -> bytes:
    stream = io.BytesIO()
    if extension == "png":
        Image.fromarray(image).save(stream, "PNG")
    else:
        Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


_HTML = (
    "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Gone.</body></html>\n",
    "<html>\n<body><h1>403 Forbidden</h1><p>Hotlinking is not allowed.</p></body>\n</html>\n",
    '<!doctype html><meta charset="utf-8"><title>Sign in</title><form action="/login"></form>\n',
)
