"""A photograph that lies within another picture is found there, and nothing else is."""

import cv2
import numpy as np
import pandas as pd
import pytest
from skimage import data

from darkroom.core import shards
from darkroom.core.params.engine import EngineParams
from darkroom.dedupe import placed
from darkroom.dedupe.decide import decide_placed
from darkroom.dedupe.placed import (
    find_place,
    placed_cache,
    read_interiors,
    verify_placed,
)
from darkroom.dedupe.verify import Picture, align_all
from darkroom.embedding.network import shrink
from darkroom.images.previews import Previews
from tests.harness import write_embeddings

ONE, TWO = (EngineParams(kind="local", workers=n) for n in (1, 2))


def sized(pixels, width, height):
    return cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA)


PHOTOGRAPH = sized(data.astronaut(), 240, 240)
OTHER = sized(data.chelsea(), 256, 170)


def lay(photograph, scene, width, left, top):
    height = round(width * photograph.shape[0] / photograph.shape[1])
    scene = scene.copy()
    scene[top : top + height, left : left + width] = sized(photograph, width, height)
    return scene


SCENES = {
    "half": (PHOTOGRAPH, sized(data.coffee(), 256, 200), 100, 140, 20),
    "more": (PHOTOGRAPH, sized(data.coffee(), 256, 200), 144, 30, 56),
    "most": (PHOTOGRAPH, sized(data.coffee(), 256, 200), 172, 70, 10),
    "wide in tall": (OTHER, sized(np.rot90(data.coffee()), 180, 250), 130, 20, 110),
    "tall in wide": (np.rot90(OTHER), sized(data.rocket(), 256, 180), 90, 100, 30),
}


def seek(scene, photograph):
    stretch = photograph.shape[1] / photograph.shape[0] * scene.shape[0] / scene.shape[1]
    return find_place(shrink(scene), shrink(photograph), stretch)


def judge(scene, photograph, found):
    none = np.zeros((0, 0), np.int8)
    pair = Picture(none, lambda: scene), Picture(none, lambda: photograph)
    return decide_placed(align_all([pair], [found])[0])


@pytest.mark.parametrize("kind", SCENES)
def test_where_it_lies_is_found(kind):
    photograph, background, width, left, top = SCENES[kind]
    scene = lay(photograph, background, width, left, top)
    found = seek(scene, photograph)
    height = width * photograph.shape[0] / photograph.shape[1]
    corners = np.array([[left, top], [left + width, top + height]]) / scene.shape[1::-1]
    mapped = found.matrix @ [[0, 16], [0, 16], [1, 1]]
    assert np.abs(mapped.T / 16 - corners).max() < 0.04
    assert judge(scene, photograph, found).duplicate
    assert not judge(background, photograph, found).duplicate


def test_a_photograph_lies_in_no_other(patches):
    found = [seek(scene, other) for scene in patches[:10] for other in patches[10:20]]
    assert sum(each is not None for each in found) <= 3  # where the pictures are looked at
    for index, place in enumerate(found):
        scene, other = patches[index // 10], patches[10 + index % 10]
        assert place is None or not judge(scene, other, place).duplicate


@pytest.fixture
def store(tmp_path):
    """Return a folder of photographs and scenes, and the keys of each scene and its photograph."""
    scenes = {kind: lay(*parts) for kind, parts in SCENES.items()}
    pictures = {"square": PHOTOGRAPH, "wide": OTHER, "tall": np.rot90(OTHER), **scenes}
    contents = [cv2.imencode(".png", each)[1].tobytes() for each in pictures.values()]
    keys = dict(zip(pictures, map(shards.key_of, contents), strict=True))
    members = zip([f"{key}.png" for key in keys.values()], contents, strict=True)
    found = shards.write_shard(tmp_path / "data/raw/00000.tar", members)
    places = pd.DataFrame(found, index=list(keys.values()))
    places.insert(0, "folder", "data/raw")
    shown = list(pictures.values())
    write_embeddings(tmp_path / "embeddings/00000.parquet", list(keys.values()), shown)
    aspects = dict(
        zip(places.index, (each.shape[1] / each.shape[0] for each in shown), strict=True)
    )
    asked = [("square", "half"), ("square", "more"), ("square", "most"), ("wide", "wide in tall")]
    asked += [("tall", "tall in wide"), ("wide", "half"), ("tall", "more"), ("wide", "square")]
    pairs = pd.DataFrame([sorted((keys[a], keys[b])) for a, b in asked], columns=["key_a", "key_b"])
    pairs = pairs.assign(similarity=0.3, normalised=0.1)
    return tmp_path, places, aspects, pairs


def verify(store, scratch, engine=ONE):
    root, places, aspects, pairs = store
    names = sorted(aspects)
    inside = read_interiors(
        root / "embeddings", names, np.array([aspects[name] for name in names]), scratch
    )
    cache = placed_cache(scratch)
    found = verify_placed(Previews(root, places), inside, pairs, engine, cache)
    cache.compact(set(names))
    inside.close()
    return found


def test_the_pair_is_a_copy_whichever_key_comes_first(store, tmp_path):
    found = verify(store, tmp_path / "s")
    assert (
        found[["key_a", "key_b"]].to_numpy().tolist()
        == (store[3][["key_a", "key_b"]].to_numpy().tolist()[:5])
    )
    assert set(found["decided_by"]) == {"placed"}
    evidence = placed_cache(tmp_path / "s").table().dropna()
    turned = evidence["key_a"].map(store[2]) != evidence["key_b"].map(store[2])
    assert turned.any()


def test_what_was_seen_is_remembered_and_workers_do_not_show(store, tmp_path, monkeypatch):
    first = verify(store, tmp_path / "s")
    monkeypatch.setattr(placed, "PER_TASK", 1)
    pd.testing.assert_frame_equal(verify(store, tmp_path / "other", TWO), first)
    monkeypatch.setattr(placed, "placed_task", None)
    pd.testing.assert_frame_equal(verify(store, tmp_path / "s"), first)


def test_a_picture_that_no_longer_decodes_lies_nowhere(store, tmp_path):
    shard = tmp_path / "data/raw/00000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"IDAT", b"IDOT"))
    assert not len(verify(store, tmp_path / "s"))
