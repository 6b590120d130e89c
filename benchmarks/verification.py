"""Where the thresholds of dedupe come from: precision and recall on patches of other photographs.

    python -m benchmarks.verification FOLDER [--photographs 250] [--network FILE]

FOLDER holds photographs that are neither in the embedded sample nor among those the network was
fitted on. Each gives nine patches that do not overlap, degraded as the sample's are and edited as
its planted copies are, so that neighbouring patches of one photograph (textures, skies) are the
hard negatives. Printed: how many copies are candidates at each similarity, and for each pair of
similarity and structure limits the recall and precision of "copy".
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages.embedding.network import BUNDLED, Network
from stages.lib.pixels import Pixels, decode, resize
from stages.lib.randomness import generator
from stages.neighbours.decide import decide
from stages.neighbours.normalise import load_background
from stages.neighbours.search import candidate_pairs
from stages.neighbours.verify import Evidence, compare, prepare
from stages.sources.copies import EDITS, edit
from stages.sources.degradations import KINDS, degrade
from stages.sources.photographs import SIDE_PX, has_contrast

LIMITS = (0.45, 0.5, 0.55, 0.6, 0.65, 0.7)


def patches(path: Path) -> list[Pixels]:
    image = decode(path.read_bytes())
    found = []
    for top in range(0, image.shape[0] - SIDE_PX + 1, SIDE_PX):
        for left in range(0, image.shape[1] - SIDE_PX + 1, SIDE_PX):
            patch = image[top : top + SIDE_PX, left : left + SIDE_PX]
            if has_contrast(patch):
                found.append(patch)
    return found[: 3 * 9 : 3]


def recompress(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return decode(buffer.getvalue())


def make_set(folder: Path, photographs: int) -> tuple[list[Pixels], list[str]]:
    """Return images and the patch that each one shows."""
    images, shows = [], []
    for number, path in enumerate(sorted(folder.iterdir())[:photographs]):
        for position, patch in enumerate(patches(path)):
            rng = generator(1, number, position)
            if rng.random() < 6 / 7:
                kind = KINDS[int(rng.integers(len(KINDS)))]
                patch = degrade(patch, kind, int(rng.integers(1, 5)), rng)
            images.append(recompress(patch, 95))
            shows.append(f"{number:04d}-{position}")
            if position % 3 == 0:
                how = EDITS[(number + position // 3) % len(EDITS)]
                copy, quality = edit(patch, how, rng)
                images.append(recompress(copy, quality or 92))
                shows.append(shows[-1])
    return images, shows


def measure(images: list[Pixels], shows: list[str], network: Network) -> pd.DataFrame:
    """Return the candidates with their evidence and the truth."""
    size = network.size_px
    vectors = network.embed([resize(image, size, size) for image in images])
    keys = [f"{number:06d}" for number in range(len(images))]
    pairs = candidate_pairs(keys, vectors, load_background(), 20, 0.2)
    prepared = [prepare(image) for image in images]
    rows = pairs[["key_a", "key_b"]].astype(int).to_numpy()
    evidence = [compare(prepared[a], prepared[b], whole=True) for a, b in rows]
    pairs["true"] = [shows[a] == shows[b] for a, b in rows]
    return pairs.join(pd.DataFrame(evidence))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photographs", type=int, default=250)
    parser.add_argument("--network", type=Path, default=BUNDLED)
    given = parser.parse_args()
    images, shows = make_set(given.folder, given.photographs)
    total = len(shows) - len(set(shows))
    pairs = measure(images, shows, Network(given.network))
    print(f"{len(images)} images, {total} true copies, {len(pairs)} candidates")
    for similarity in np.arange(0.2, 0.76, 0.05):
        near = pairs[pairs["normalised"] >= similarity]
        print(
            f"normalised similarity {similarity:.2f}: recall {near['true'].sum() / total:.4f}, "
            f"precision {near['true'].mean():.4f}, {len(near)} pairs"
        )
    verdicts = [
        decide(
            row.normalised, Evidence(row.inliers, row.overlap, row.structure, row.likeness), limit
        )
        for limit in LIMITS
        for row in pairs.itertuples()
    ]
    for number, limit in enumerate(LIMITS):
        part = verdicts[number * len(pairs) : (number + 1) * len(pairs)]
        said = np.array([verdict.duplicate for verdict in part])
        true = int((said & pairs["true"]).sum())
        print(
            f"dedupe.threshold {limit:.2f}: recall {true / total:.4f}, "
            f"{said.sum() - true} wrong of {said.sum()} pairs called copies"
        )


if __name__ == "__main__":
    main()
