"""Folders: links, names, and label tables for them."""

import json
import logging
import os

from darkroom.core.shards import key_of
from tests.sources.harness import (
    picture,
    run,
)


def test_links_are_followed_outside_if_asked_for_and_loops_survive(tmp_path, caplog):
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/a.png").write_bytes(picture(1))
    (tmp_path / "single.png").write_bytes(picture(2))
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    (photos / "own.png").write_bytes(picture(3))
    (photos / "there").symlink_to(outside)
    (photos / "single.png").symlink_to(tmp_path / "single.png")
    (photos / "sub/loop").symlink_to(photos)
    (outside / "back").symlink_to(photos)
    (photos / "broken").symlink_to(tmp_path / "nothing")
    with caplog.at_level(logging.WARNING):
        _, index = run(tmp_path, {"kind": "folder", "path": "photos"})
    assert list(index.index) == ["own.png"]
    assert "follow_links: true" in caplog.text
    _, index = run(tmp_path, {"kind": "folder", "path": "photos", "follow_links": True})
    kept = index[index["status"] == "kept"]
    assert {"own.png", "single.png", "there/deep/a.png"} <= set(kept.index)
    assert set(kept["key"]) == {key_of(picture(number)) for number in (1, 2, 3)}


STRANGE = ["e\u0301.png", "é.png", "حصان.png", "🐎.png", "a\nb.png", "a\tb.png", " .png", "%s.png"]


def test_any_name_arrives_with_its_label(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate(STRANGE):
        (photos / name).write_bytes(picture(number))
    (photos / os.fsdecode(b"\xff.png")).write_bytes(picture(100))
    (photos / "\\xff.png").write_bytes(picture(101))
    rows = [{"image_id": name, "label": [number, 1]} for number, name in enumerate(STRANGE)]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    for _ in range(2):
        _, index = run(tmp_path, {"kind": "folder", "path": "photos", "labels": "labels.json"})
        assert set(index.index) == {*STRANGE, "\\xff.png", "\\xff.png~2"}
        assert [list(index.loc[name, "ratings"]) for name in STRANGE] == [
            [number, 1] for number in range(len(STRANGE))
        ]


def test_names_match_in_either_form_of_unicode(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/e\u0301.png").write_bytes(picture(1))
    (tmp_path / "labels.csv").write_text("name,label\né,accent\n", encoding="utf-8")
    _, index = run(tmp_path, {"kind": "folder", "path": "photos", "labels": "labels.csv"})
    assert list(index["label"]) == ["accent"]


def test_an_ava_user_names_the_folder_and_the_file(tmp_path):
    (tmp_path / "images").mkdir()
    for number in (953619, 953958):
        (tmp_path / f"images/{number}.jpg").write_bytes(picture(number % 256))
    (tmp_path / "AVA.txt").write_text(
        "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n"
        "2 953958 10 7 15 26 26 21 10 8 1 2 15 21 1396\n"
        "3 1 0 0 0 0 0 0 0 0 0 1 1 22 1396\n"
    )
    _, index = run(tmp_path, {"kind": "folder", "path": "images", "labels": "AVA.txt"})
    assert list(index.loc["953619.jpg", "ratings"]) == [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]


def test_what_is_hidden_is_counted_and_named(tmp_path, caplog):
    for name in ("a.png", ".trash/b.png", ".trash/c/d.png", ".e.png", ".DS_Store", "._a.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(picture(1))
    with caplog.at_level(logging.WARNING):
        _, index = run(tmp_path, {"kind": "folder", "path": "photos"})
    assert list(index.index) == ["a.png"]
    assert "3 files are hidden, or in hidden folders, and are passed over, as .e.png" in caplog.text
