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
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.evidence import gather_evidence
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from darkroom.core.randomness import generator
from darkroom.dedupe.decide import decide
from darkroom.dedupe.normalise import load_background
from darkroom.dedupe.search import find_neighbours, score_pairs
from darkroom.dedupe.verify import Evidence
from darkroom.embedding.network import BUNDLED, Network
from darkroom.evaluation.intervals import wilson
from darkroom.images.decode import Pixels, decode
from darkroom.images.resize import resize
from darkroom.sources.sample.degradations import KINDS, degrade
from darkroom.sources.sample.edits import EDITS, edit
from darkroom.sources.sample.photographs import SIDE_PX, has_contrast

LIMITS = (0.4, 0.45, 0.5, 0.55, 0.6)
LOWEST = 0.2


def patches(path: Path) -> list[Pixels]:
    image = decode(path.read_bytes())
    found = []
    for top in range(0, image.shape[0] - SIDE_PX + 1, SIDE_PX):
        for left in range(0, image.shape[1] - SIDE_PX + 1, SIDE_PX):
            patch = image[top : top + SIDE_PX, left : left + SIDE_PX]
            if has_contrast(patch):
                found.append(patch)
    return found[: 3 * 9 : 3]


def pictures(folder: Path, photographs: int) -> list[Pixels]:
    return make_set(folder, photographs)[0]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photographs", type=int, default=250)
    parser.add_argument("--network", type=Path, default=BUNDLED)
    given = parser.parse_args()
    images, shows = make_set(given.folder, given.photographs)
    total = len(shows) - len(set(shows))
    network, dedupe = Network(given.network), load_params(Path(), Params).dedupe
    size = network.size_px
    embedded = network.embed([resize(image, size, size) for image in images])
    vectors = embedded.vectors
    keys = [f"{number:06d}" for number in range(len(images))]
    graph = find_neighbours(keys, vectors, load_background(), dedupe.neighbours, LOWEST)
    pairs = score_pairs(keys, vectors, graph.to_background, graph.pairs())
    a, b = (pairs[name].astype(int) for name in ("key_a", "key_b"))
    pairs["true"] = [shows[i] == shows[j] for i, j in zip(a, b, strict=True)]
    print(f"{len(images)} images, {total} true copies")
    for similarity in np.arange(LOWEST, 0.7, 0.05):
        near = pairs[pairs["normalised"] >= similarity]
        print(
            f"normalised similarity {similarity:.2f}: recall {near['true'].sum() / total:.4f}, "
            f"precision {near['true'].mean():.4f}, {len(near)} pairs"
        )
    pairs = pairs[pairs["normalised"] >= dedupe.candidate_threshold]
    load = partial(pictures, given.folder, given.photographs)
    pairs, seconds = gather_evidence(load, embedded.local, embedded.small, pairs, min(LIMITS))
    print(f"{len(pairs)} verified, {1000 * seconds / len(pairs):.1f} ms each")
    found = [Evidence(*row) for row in pairs[list(Evidence._fields)].itertuples(index=False)]
    for limit in LIMITS:
        verdicts = [decide(n, e, limit) for n, e in zip(pairs["normalised"], found, strict=True)]
        said = np.array([verdict.duplicate for verdict in verdicts])
        true = int((said & pairs["true"]).sum())
        low, high, *_ = wilson(true, total, 0.95)
        rules = Counter(v.decided_by for v, t in zip(verdicts, pairs["true"], strict=True) if t)
        print(
            f"dedupe.threshold {limit:.2f}: recall {true / total:.4f} [{low:.4f}, {high:.4f}], "
            f"{said.sum() - true} wrong of {said.sum()} called copies; copies by {dict(rules)}"
        )


if __name__ == "__main__":
    main()
