"""Find transformed copies among photographs that the network was never fitted on.

    python -m benchmarks.copies FOLDER_OR_SHARDS [--network FILE] [--limit N] [--plain] [--verify N]

Of each photograph held out by `tools.fit_copy_network` there are six files: itself, a crop of
87.5 %, both flips, a rotation by 25° and a square resize, hence 15 pairs that are copies. Every
other pair is a mistake. The collection's own duplicates would count as mistakes, so they are
taken out by hand: `duplicates.csv` lists what was seen on contact sheets of the 583 nearest pairs
of the 1,828 held-out photographs, and of the 180 pairs with the most SIFT matches.

- `duplicate`: strictly the same picture (mirrored, cropped, captioned, stored again). One of the
  two is taken out.
- `relative`: the same person or thing, shot again. Both stay and are the hardest foreign pairs;
  results without them stand beside the main ones.

Printed are, for cosine similarity as it is and normalised: average precision over all pairs, recall
at precision 0.999, the copies among the 5 and 20 nearest; precision and recall at the thresholds of
params.yaml; and what the pipeline's rule (search, verification, decision, last look) makes of it;
all this for the transformed set, then for the hard edits, each against the originals. Intervals are
95 %, Wilson's at the effective sample size, with the photographs as clusters.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evidence import gather_evidence
from darkroom.core.graphs import connected_components
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from darkroom.dedupe.normalise import NEAREST, load_background, mean_of_nearest, nearest_background
from darkroom.dedupe.placed import holds_more
from darkroom.dedupe.regions import find_placed, load_centres
from darkroom.dedupe.search import find_neighbours, score_pairs
from darkroom.embedding.network import BUNDLED, Embedded, Network
from darkroom.evaluation.intervals import proportion_interval, wilson
from darkroom.images.decode import DecodeError, Pixels, decode
from darkroom.images.resize import resize
from tools.fit_copy_network import is_held_out, read_photographs

Transform = Callable[[Pixels], Pixels]
DUPLICATES = Path(__file__).with_name("duplicates.csv")
BINS = np.linspace(-1.5, 1.5, 30_001)  # of similarities, for counting all pairs


def crop(image: Pixels, share: float = 0.875) -> Pixels:
    height, width = image.shape[:2]
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return image[top : height - top, left : width - left]


def rotate(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 25, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height)), np.uint8)


def square(image: Pixels) -> Pixels:
    return resize(image, min(image.shape[:2]), min(image.shape[:2]))


def overlay(image: Pixels) -> Pixels:
    image = image.copy()
    height, width = image.shape[:2]
    cv2.circle(image, (width * 2 // 3, height // 3), min(height, width) // 6, (230, 40, 60), -1)
    return image


def caption(image: Pixels) -> Pixels:
    image = image.copy()
    height, width = image.shape[:2]
    image[-height // 5 :] = 255
    where = (4, height - height // 12)
    cv2.putText(image, "WHEN YOU", where, cv2.FONT_HERSHEY_SIMPLEX, width / 250, (0, 0, 0), 2)
    return image


def screenshot(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    sides = (height // 4, height // 6, width // 12, width // 12)
    framed = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=(245, 245, 245))
    return np.asarray(framed, np.uint8)


def half_crop(image: Pixels) -> Pixels:
    return crop(image, 0.5**0.5)


def filtered(image: Pixels) -> Pixels:
    return np.clip(image * np.array([1.15, 0.95, 0.65]) + 12, 0, 255).astype(np.uint8)


def jpeg10(image: Pixels) -> Pixels:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


EASY: dict[str, Transform] = {
    "original": lambda image: image,
    "crop_875": crop,
    "horizontal_flip": lambda image: image[:, ::-1],
    "vertical_flip": lambda image: image[::-1],
    "rotation_25": rotate,
    "square_resize": square,
}
HARD: dict[str, Transform] = {
    "overlay": overlay,
    "caption": caption,
    "screenshot": screenshot,
    "crop_50": half_crop,
    "colour_filter": filtered,
    "jpeg_10": jpeg10,
    "mirrored_crop": lambda image: half_crop(image)[:, ::-1],
}


IN_SCENE = {"photo_in_photo_50": 0.5, "photo_in_photo_70": 0.7}  # share of the scene's side
EASY_KINDS = tuple(EASY)
HARD_KINDS = (*HARD, *IN_SCENE)


def photo_in_photo(image: Pixels, scene: Pixels, share: float, number: int) -> Pixels:
    """Lay `image`, as large as this share of the sides allows, onto a foreign photograph."""
    height, width = scene.shape[:2]
    scale = share * min(height / image.shape[0], width / image.shape[1])
    small = resize(image, round(image.shape[1] * scale), round(image.shape[0] * scale))
    top = (height - small.shape[0]) * (number % 3) // 2
    left = (width - small.shape[1]) * (number // 3 % 3) // 2
    scene = scene.copy()
    scene[top : top + small.shape[0], left : left + small.shape[1]] = small
    return scene


class TransformedSet(Sequence[Pixels]):
    """Held-out photographs in many versions; the version's number times n plus the photograph's."""

    def __init__(self, source: Path, limit: int, kinds: Sequence[str]) -> None:
        """Read the photographs, and as many fitted ones for the scenes of photo in photo.

        These are of the highest keys: the background of normalisation is of the lowest.
        """
        found, fitted = read_all(source)
        dropped = to_drop(level="duplicate")
        images = {key: image for key, image in found.items() if key not in dropped}
        self.dropped = len(found) - len(images)
        self.keys = list(images)[:limit]
        self.images = [images[key] for key in self.keys]
        self.scenes = [decode(fitted[key]) for key in sorted(fitted)[-len(self.keys) :]]
        self.kinds = kinds

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.kinds) * len(self.keys)

    def __getitem__(self, position: int) -> Pixels:  # type: ignore[override]  # no slices needed
        """Return one file."""
        version, number = divmod(position, len(self.keys))
        image, kind = self.images[number], self.kinds[version]
        if kind in IN_SCENE:
            scene = self.scenes[number]
            return photo_in_photo(image, scene, IN_SCENE[kind], number)
        return np.ascontiguousarray({**EASY, **HARD}[kind](image))

    def embed(self, network: Network) -> Embedded:
        """Return the embeddings of all files, (versions * n, d)."""
        size, n = network.size_px, len(self.keys)
        parts = [
            network.embed([resize(self[i], size, size) for i in range(start, start + n)])
            for start in range(0, len(self), n)
        ]
        return Embedded(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def read_all(source: Path) -> tuple[dict[str, Pixels], dict[str, bytes]]:
    """Return the photographs that the network was not fitted on, by key, and the others' bytes."""
    images, fitted = {}, {}
    for key, content in read_photographs(source):
        if is_held_out(key):
            try:
                images[key] = decode(content)
            except DecodeError:
                continue
        else:
            fitted[key] = content
    return images, fitted


def to_drop(level: str) -> set[str]:
    """Return all but one photograph of each group that is listed at this level."""
    listed = pd.read_csv(DUPLICATES)
    pairs = listed.loc[listed["level"] == level, ["key_a", "key_b"]].itertuples(index=False)
    links = [(pair.key_a, pair.key_b) for pair in pairs]
    component = connected_components({key for pair in links for key in pair}, links)
    return {key for key, first in component.items() if key != first}


def count_pairs(
    vectors: NDArray[np.float32], foreign: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return over all pairs: scores of copies, the photograph of each, counts of others by BINS."""
    photograph = np.arange(len(vectors)) % n
    scores, owners, counts = [], [], np.zeros(len(BINS) - 1, np.int64)
    half = (foreign / 4).astype(np.float32)
    for start in range(0, len(vectors), 512):
        rows = np.arange(start, min(start + 512, len(vectors)))
        similarity = vectors[rows] @ vectors.T - half[rows][:, None] - half[None]
        upper = rows[:, None] < np.arange(len(vectors))[None]
        same = photograph[rows][:, None] == photograph[None]
        scores.append(similarity[upper & same])
        owners.append(np.broadcast_to(photograph[None], same.shape)[upper & same])
        counts += np.histogram(similarity[upper & ~same], BINS)[0]
    return np.concatenate(scores).astype(np.float64), np.concatenate(owners), counts


def others_above(scores: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each score how many foreign pairs reach it, ties of a bin counted in."""
    from_here = np.append(np.cumsum(counts[::-1])[::-1], 0)
    return np.asarray(from_here[np.clip(np.digitize(scores, BINS) - 1, 0, len(counts))])


def average_precision(true: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    ordered = np.sort(true)[::-1]
    rank = np.arange(1, len(ordered) + 1)
    return float((rank / (rank + others_above(ordered, counts))).mean())


def threshold_at(true: NDArray[np.float64], counts: NDArray[np.int64], precision: float) -> float:
    """Return the lowest threshold at which precision holds, above all scores if none."""
    ordered = np.sort(true)[::-1]
    rank = np.arange(1, len(ordered) + 1)
    good = np.flatnonzero(rank / (rank + others_above(ordered, counts)) >= precision)
    return float(ordered[good[-1]]) if len(good) else 2.0


def copies_among_nearest(
    vectors: NDArray[np.float32], foreign: NDArray[np.float64], n: int, nearest: int
) -> float:
    """Return the share of copies that are among an image's `nearest`."""
    photograph, half = np.arange(len(vectors)) % n, (foreign / 4).astype(np.float32)
    found = 0
    for start in range(0, len(vectors), 512):
        similarity = vectors[start : start + 512] @ vectors.T - half[None]
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -2
        best = np.argpartition(-similarity, nearest, axis=1)[:, :nearest]
        found += (photograph[best] == photograph[start : start + 512][:, None]).sum()
    return float(found) / (len(vectors) * (len(vectors) // n - 1))


def interval(success: NDArray[np.bool_], photographs: NDArray[np.int64]) -> str:
    """Return a share with its interval."""
    low, high, *_ = proportion_interval(success, photographs, 0.95)
    return f"{success.mean():.4f} [{low:.4f}, {high:.4f}]"


def report(name: str, vectors: NDArray[np.float32], foreign: NDArray[np.float64], n: int) -> None:
    """Print how well similarity alone tells copies from others."""
    true, owners, counts = count_pairs(vectors, foreign, n)
    least = threshold_at(true, counts, 0.999)
    nearest = [f"{copies_among_nearest(vectors, foreign, n, k):.4f}" for k in (5, 20)]
    print(
        f"{name}: AP {average_precision(true, counts):.4f}, recall "
        f"{interval(true >= least, owners)} at precision 0.999 (similarity {least:.3f}), "
        f"among 5 / 20 nearest {' / '.join(nearest)}",
        flush=True,
    )


def report_thresholds(
    vectors: NDArray[np.float32], foreign: NDArray[np.float64], n: int, dedupe: DedupeParams
) -> None:
    """Print precision and recall of normalised similarity at the thresholds of params.yaml."""
    true, owners, counts = count_pairs(vectors, foreign, n)
    for name in ("candidate_threshold", "threshold", "family_threshold"):
        value = getattr(dedupe, name)
        wrong = int(others_above(np.array([value]), counts)[0])
        right = int((true >= value).sum())
        print(
            f"  dedupe.{name} {value}: recall {interval(true >= value, owners)}, precision "
            f"{right / max(1, right + wrong):.4f} ({wrong} foreign pairs)"
        )


def report_verified(
    name: str, pairs: pd.DataFrame, keys: list[str], each: int, chosen: NDArray[np.int64]
) -> None:
    """Print what the pipeline's rule makes of the candidates; `each` is a photograph's copies."""
    said = pairs[pairs["duplicate"]]
    counts = np.bincount(said.loc[said["true"], "photograph"], minlength=len(keys))[chosen]
    found = np.arange(each)[None] < counts[:, None]  # (photographs, each)
    owners = np.repeat(chosen, each)
    wrong = said[~said["true"]]
    low, high, *_ = wilson(len(said) - len(wrong), max(1, len(said)), 0.95)
    print(
        f"{name}, verified: recall {interval(found.ravel(), owners)}, "
        f"precision {1 - len(wrong) / max(1, len(said)):.5f} [{low or 0:.5f}, {high or 1:.5f}] "
        f"({len(wrong)} wrong of {len(said)}; {len(pairs)} candidates)",
        flush=True,
    )
    relatives = pd.read_csv(DUPLICATES)
    known = {frozenset((row.key_a, row.key_b)) for row in relatives.itertuples()}
    for row in wrong.itertuples():
        two = keys[int(row.key_a) % len(keys)], keys[int(row.key_b) % len(keys)]
        what = "relatives" if frozenset(two) in known else "unlisted"
        print(f"    wrong: {two[0]} {two[1]} ({what}; {row.decided_by}, {row.normalised:.2f})")


def find_candidates(
    rows: NDArray[np.int64],
    files: Embedded,
    n: int,
    dedupe: DedupeParams,
    chosen: NDArray[np.int64],
) -> pd.DataFrame:
    """Return the candidates among these files of which one shows a chosen photograph.

    `key_a` and `key_b` are their rows as text; `whole` says of each whether their embeddings are
    near, `holds` whether one may lie within the other.
    """
    names, vectors, regions = [f"{row:06d}" for row in rows], files.vectors[rows], files.regions
    graph = find_neighbours(
        names, vectors, load_background(), dedupe.neighbours, dedupe.candidate_threshold
    )
    within = find_placed(names, regions[rows, 0], regions[rows, 1:], load_centres()).pairs()
    near = {tuple(pair) for pair in graph.pairs().tolist()}
    placed = {tuple(pair) for pair in within.tolist()}
    two = np.array(sorted(near | placed), np.int64).reshape(-1, 2)
    pairs = score_pairs(names, vectors, graph.to_background, two)
    second = holds_more(regions, rows[two[:, ::-1]]) > holds_more(regions, rows[two])
    pairs["whole"] = [tuple(pair) in near for pair in two.tolist()]
    pairs["holds"] = np.where(second, -1, 1) * [tuple(pair) in placed for pair in two.tolist()]
    a, b = (pairs[name].astype(int) % n for name in ("key_a", "key_b"))
    print(
        f"    {pairs['whole'].sum() / len(rows):.2f} candidates per file, "
        f"{((a != b) & pairs['whole']).sum()} of them foreign; placed: "
        f"{(pairs['holds'] != 0).sum() / len(rows):.2f}, {((a != b) & (pairs['holds'] != 0)).sum()}"
    )
    return pairs.assign(true=a == b, photograph=a)[a.isin(chosen) | b.isin(chosen)]


def verify(
    candidates: pd.DataFrame,
    load: Callable[[], Sequence[Pixels]],
    files: Embedded,
    dedupe: DedupeParams,
) -> pd.DataFrame:
    """Return the candidates with evidence and verdict."""
    unique = candidates.drop_duplicates(["key_a", "key_b"])
    order = unique.sort_values(["photograph", "key_a", "key_b"], ignore_index=True)
    pairs, seconds = gather_evidence(load, files.local, files.small, order, dedupe.threshold)
    print(f"  ({len(pairs)} pairs verified, {1000 * seconds / len(pairs):.1f} ms each, 2 workers)")
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--network", type=Path, default=BUNDLED)
    parser.add_argument("--limit", type=int, default=1750)
    parser.add_argument("--plain", action="store_true", help="without verification")
    parser.add_argument(
        "--verify", type=int, default=1750, help="photographs whose pairs to verify"
    )
    given = parser.parse_args()
    dedupe = load_params(Path(), Params).dedupe
    kinds = EASY_KINDS + HARD_KINDS
    load = partial(TransformedSet, given.source, given.limit, kinds)
    files = load()
    n, easy = len(files.keys), len(EASY_KINDS)
    print(f"{n} held-out photographs ({files.dropped} duplicates left out), {easy * n} files")
    embedded = files.embed(Network(given.network))
    vectors = embedded.vectors
    foreign = mean_of_nearest(nearest_background(vectors, load_background(), NEAREST)[1])
    plain, first = np.zeros(len(vectors)), slice(0, easy * n)
    report("transformed set, plain", vectors[first], plain[first], n)
    report("transformed set, normalised", vectors[first], foreign[first], n)
    alone = np.array([key not in to_drop("relative") for key in files.keys])
    rows = np.flatnonzero(np.tile(alone, easy))
    name = f"without relatives ({alone.sum()} photographs)"
    report(f"{name}, plain", vectors[rows], plain[rows], int(alone.sum()))
    report(f"{name}, normalised", vectors[rows], foreign[rows], int(alone.sum()))
    report_thresholds(vectors[first], foreign[first], n, dedupe)
    chosen = np.unique(np.linspace(0, n - 1, min(n, given.verify)).astype(int))
    hard = {}
    for version, kind in enumerate(HARD_KINDS, easy):
        rows = np.r_[0:n, version * n : (version + 1) * n]
        report(f"  hard, {kind}, plain", vectors[rows], plain[rows], n)
        report(f"  hard, {kind}, normalised", vectors[rows], foreign[rows], n)
        hard[kind] = find_candidates(rows, embedded, n, dedupe, chosen)
    if given.plain:
        return
    candidates = find_candidates(np.arange(easy * n), embedded, n, dedupe, chosen)
    pairs = verify(candidates, load, embedded, dedupe)
    report_verified("transformed set", pairs, files.keys, easy * (easy - 1) // 2, chosen)
    single = (pairs["photograph"].isin(np.flatnonzero(alone))) & (
        (pairs["key_b"].astype(int) % n).isin(np.flatnonzero(alone))
    )
    print(f"  without relatives: {(pairs['duplicate'] & ~pairs['true'] & single).sum()} wrong")
    verified = verify(pd.concat(hard.values()), load, embedded, dedupe).set_index(
        ["key_a", "key_b"]
    )
    for kind, part in hard.items():
        mine = verified.loc[pd.MultiIndex.from_frame(part[["key_a", "key_b"]])].reset_index()
        report_verified(f"  hard, {kind}", mine, files.keys, 1, chosen)


if __name__ == "__main__":
    main()
