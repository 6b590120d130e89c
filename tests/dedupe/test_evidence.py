"""Evidence is gathered once per pair and question, however often and with whatever the run ends."""

import cv2
import numpy as np
import pandas as pd
import pytest

from darkroom.core import shards
from darkroom.core.params.engine import EngineParams
from darkroom.dedupe import evidence
from darkroom.dedupe.evidence import PairCache, evidence_cache
from darkroom.images.previews import Previews
from tests.harness import write_embeddings

ONE, TWO = (EngineParams(kind="local", workers=n) for n in (1, 2))


def verify(store, pairs, threshold, engine, scratch):
    """Verify pairs as one run of dedupe does."""
    root, places, _ = store
    cache = evidence_cache(scratch)
    found = evidence.verify_pairs(
        Previews(root, places), root / "embeddings", pairs, threshold, engine, cache
    )
    cache.compact(set(places.index))
    return found


@pytest.fixture
def store(tmp_path, patches):
    """Return a folder with one shard, the places in it, and pairs: of copies and of others."""
    pictures = [p for patch in patches[:12] for p in (patch, np.ascontiguousarray(patch[:, ::-1]))]
    contents = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
    keys = [shards.key_of(content) for content in contents]
    names = [f"{key}.png" for key in keys]
    found = shards.write_shard(tmp_path / "data/raw/00000.tar", zip(names, contents, strict=True))
    places = pd.DataFrame(found, index=keys)
    places.insert(0, "folder", "data/raw")
    write_embeddings(tmp_path / "embeddings/00000.parquet", keys, pictures)
    rows = [(a, b) for a in range(24) for b in range(a + 1, min(a + 4, 24))]
    pairs = pd.DataFrame(
        {
            "key_a": [min(keys[a], keys[b]) for a, b in rows],
            "key_b": [max(keys[a], keys[b]) for a, b in rows],
            "similarity": 0.9,
            "normalised": [0.3 + 0.005 * n for n in range(len(rows))],
        }
    ).sort_values(["key_a", "key_b"], ignore_index=True)
    return tmp_path, places, pairs


@pytest.fixture
def verified(monkeypatch):
    """Return a list that takes in each pair which is really worked on."""
    seen, real = [], evidence.verify_task

    def watched(root, descriptors, task):
        seen.extend((pair.a.key, pair.b.key) for pair in task)
        return real(root, descriptors, task)

    monkeypatch.setattr(evidence, "verify_task", watched)
    return seen


def test_evidence_is_remembered(store, tmp_path, verified):
    pairs = store[2]
    first = verify(store, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs)
    assert first["duplicate"].any()
    assert not first["duplicate"].all()
    again = verify(store, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs)
    pd.testing.assert_frame_equal(first, again)
    assert not (tmp_path / "s/descriptors.bin").exists()


def test_another_threshold_asks_nothing(store, tmp_path, verified):
    pairs = store[2]
    verify(store, pairs, 0.45, ONE, tmp_path / "s")
    verified.clear()
    changed = verify(store, pairs, 0.5, ONE, tmp_path / "s")
    assert not verified
    scratch = verify(store, pairs, 0.5, ONE, tmp_path / "other")
    pd.testing.assert_frame_equal(changed, scratch)


def test_neither_workers_nor_tasks_show(store, tmp_path, monkeypatch):
    pairs = store[2]
    expected = verify(store, pairs, 0.45, ONE, tmp_path / "s")
    monkeypatch.setattr(evidence, "PER_TASK", 5)
    found = verify(store, pairs, 0.45, TWO, tmp_path / "other")
    pd.testing.assert_frame_equal(found, expected)


def test_a_run_that_is_cut_off_keeps_what_it_found(store, tmp_path, monkeypatch, verified):
    pairs = store[2]
    expected = verify(store, pairs, 0.45, ONE, tmp_path / "other")
    verified.clear()
    monkeypatch.setattr(evidence, "PER_TASK", 5)
    monkeypatch.setattr(evidence, "SECONDS_PER_PART", -1.0)
    real = PairCache.add

    def cut_off(cache, rows):
        if len(verified) > 30:
            [folder] = cache.scratch.glob("evidence-*")
            (folder / ".unfinished-00000007.parquet").write_bytes(b"PAR1")
            raise KeyboardInterrupt
        real(cache, rows)

    monkeypatch.setattr(PairCache, "add", cut_off)
    with pytest.raises(KeyboardInterrupt):
        verify(store, pairs, 0.45, ONE, tmp_path / "s")
    monkeypatch.setattr(PairCache, "add", real)
    known = 30
    verified.clear()
    found = verify(store, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs) - known
    pd.testing.assert_frame_equal(found, expected)


def test_what_is_gone_or_broken_is_forgotten(store, tmp_path, verified, caplog):
    pairs = store[2]
    expected = verify(store, pairs, 0.45, ONE, tmp_path / "s")
    root, places, _ = store
    gone = places.index[0]
    left = pairs[(pairs["key_a"] != gone) & (pairs["key_b"] != gone)].reset_index(drop=True)
    more = (
        left[["key_a", "key_b"]]
        .iloc[:1]
        .assign(key_a=min(left["key_a"]), key_b=max(left["key_b"]), similarity=0.5, normalised=0.3)
    )
    assert not len(more.merge(pairs, on=["key_a", "key_b"]))
    half = root, places.drop(gone), pairs
    verify(half, pd.concat([left, more], ignore_index=True), 0.45, ONE, tmp_path / "s")
    verified.clear()
    verify(store, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs) - len(left)
    [memory] = (tmp_path / "s").glob("evidence-*")
    (memory / "00000099.parquet").write_bytes(b"cut off")
    found = verify(store, pairs, 0.45, ONE, tmp_path / "s")
    assert "00000099.parquet is broken" in caplog.text
    pd.testing.assert_frame_equal(found, expected)


def test_no_pairs(store, tmp_path):
    pairs = store[2]
    assert verify(store, pairs[:0], 0.45, ONE, tmp_path / "s").empty
