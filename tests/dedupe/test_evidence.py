"""Evidence is gathered once per pair and question, however often and with whatever the run ends."""

import cv2
import numpy as np
import pandas as pd
import pytest

from darkroom.core import shards
from darkroom.core.params.engine import EngineParams
from darkroom.dedupe import evidence
from darkroom.dedupe.evidence import EvidenceCache

ONE, TWO = (EngineParams(kind="local", workers=n) for n in (1, 2))


def verify(folder, locations, pairs, threshold, engine, scratch):
    """Verify pairs as one run of dedupe does."""
    cache = EvidenceCache(scratch)
    found = evidence.verify_pairs(folder, locations, pairs, threshold, engine, cache)
    cache.compact(set(locations.index))
    return found


@pytest.fixture
def store(tmp_path, patches):
    """Return a folder with one shard, the places in it, and pairs: of copies and of others."""
    pictures = [p for patch in patches[:12] for p in (patch, np.ascontiguousarray(patch[:, ::-1]))]
    contents = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
    keys = [shards.key_of(content) for content in contents]
    names = [f"{key}.png" for key in keys]
    found = shards.write_shard(tmp_path / "00000.tar", zip(names, contents, strict=True))
    places = pd.DataFrame(found, index=keys)
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
    """Return a list that takes in each question which is really worked on."""
    seen, real = [], evidence.verify_task

    def watched(folder, shared, task):
        seen.extend((pair.a[0], pair.b[0], pair.whole) for pair in task)
        return real(folder, shared, task)

    monkeypatch.setattr(evidence, "verify_task", watched)
    return seen


def test_evidence_is_remembered(store, tmp_path, verified):
    folder, places, pairs = store
    first = verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs)
    assert first["duplicate"].any()
    assert not first["duplicate"].all()
    again = verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs)
    pd.testing.assert_frame_equal(first, again)
    assert not list((tmp_path / "s").glob("prepared-*"))


def test_another_threshold_asks_only_what_it_changes(store, tmp_path, verified):
    folder, places, pairs = store
    verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    verified.clear()
    changed = verify(folder, places, pairs, 0.5, ONE, tmp_path / "s")
    between = (pairs["normalised"] >= 0.45) & (pairs["normalised"] < 0.5)
    assert 0 < len(verified) == between.sum()
    scratch = verify(folder, places, pairs, 0.5, ONE, tmp_path / "other")
    pd.testing.assert_frame_equal(changed, scratch)
    verified.clear()
    verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    assert not verified


def test_neither_workers_nor_blocks_nor_tasks_show(store, tmp_path, monkeypatch):
    folder, places, pairs = store
    expected = verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    monkeypatch.setattr(evidence, "PER_TASK", 5)
    monkeypatch.setattr(evidence, "PICTURES_PER_BLOCK", 7)
    found = verify(folder, places, pairs, 0.45, TWO, tmp_path / "other")
    pd.testing.assert_frame_equal(found, expected)


def test_a_run_that_is_cut_off_keeps_what_it_found(store, tmp_path, monkeypatch, verified):
    folder, places, pairs = store
    expected = verify(folder, places, pairs, 0.45, ONE, tmp_path / "other")
    verified.clear()
    monkeypatch.setattr(evidence, "PER_TASK", 5)
    monkeypatch.setattr(evidence, "SECONDS_PER_PART", -1.0)
    real = EvidenceCache.add

    def cut_off(cache, rows):
        if len(verified) > 30:
            [folder] = cache.scratch.glob("evidence-*")
            (folder / ".unfinished-00000007.parquet").write_bytes(b"PAR1")
            raise KeyboardInterrupt
        real(cache, rows)

    monkeypatch.setattr(EvidenceCache, "add", cut_off)
    with pytest.raises(KeyboardInterrupt):
        verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    monkeypatch.setattr(EvidenceCache, "add", real)
    known = 30
    verified.clear()
    found = verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs) - known
    pd.testing.assert_frame_equal(found, expected)


def test_what_is_gone_or_broken_is_forgotten(store, tmp_path, verified, caplog):
    folder, places, pairs = store
    expected = verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    gone = places.index[0]
    left = pairs[(pairs["key_a"] != gone) & (pairs["key_b"] != gone)].reset_index(drop=True)
    half = places.drop(gone)
    changed = left.assign(normalised=0.2)
    verify(folder, half, changed, 0.45, ONE, tmp_path / "s")
    verified.clear()
    verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    assert len(verified) == len(pairs) - len(left)
    [memory] = (tmp_path / "s").glob("evidence-*")
    (memory / "00000099.parquet").write_bytes(b"cut off")
    found = verify(folder, places, pairs, 0.45, ONE, tmp_path / "s")
    assert "00000099.parquet is broken" in caplog.text
    pd.testing.assert_frame_equal(found, expected)


def test_no_pairs(store, tmp_path):
    folder, places, pairs = store
    assert verify(folder, places, pairs[:0], 0.45, ONE, tmp_path / "s").empty
