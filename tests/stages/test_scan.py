"""Scan: a digest per source that changes when, and only when, the source does."""

import json
import logging
import os

import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.sources import content_hashes
from stages import scan
from tests.harness import read_values


def params_for(*sources):
    values = read_values()
    values["download"]["sources"] = list(sources)
    return check_params(values, Params)


def scan_now(root, *sources):
    scan.run(root, params_for(*sources))
    return json.loads((root / scan.TARGET).read_text())


@pytest.fixture
def photos(tmp_path):
    """Three files of known content in a folder, long enough ago to be remembered."""
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, ns=(10**18, 10**18))
    return tmp_path / "photos"


FOLDER = {"kind": "folder", "path": "photos"}


def test_the_entry_has_no_machine_paths(tmp_path, photos):
    text = json.dumps(scan_now(tmp_path, FOLDER, {"kind": "sample"}))
    assert str(tmp_path) not in text
    entry = json.loads(text)["photos"]
    assert (entry["kind"], entry["files"]) == ("folder", 3)


def test_nothing_new_leaves_the_file_alone_and_reads_no_content(tmp_path, photos, monkeypatch):
    scan_now(tmp_path, FOLDER)
    before = (tmp_path / scan.TARGET).stat()

    def refuse(path):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(content_hashes, "hash_file", refuse)
    scan_now(tmp_path, FOLDER)
    after = (tmp_path / scan.TARGET).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def _add(photos):
    (photos / "new.jpg").write_bytes(b"new")


def _edit(photos):
    (photos / "a.jpg").write_bytes(b"A.jpg")


def _rename(photos):
    (photos / "a.jpg").rename(photos / "z.jpg")


def _remove(photos):
    (photos / "a.jpg").unlink()


@pytest.mark.parametrize("change", [_add, _edit, _rename, _remove])
def test_a_change_changes_the_digest(tmp_path, photos, change):
    before = scan_now(tmp_path, FOLDER)
    change(photos)
    assert scan_now(tmp_path, FOLDER) != before


def test_a_change_of_labels_changes_the_digest(tmp_path, photos):
    source = {**FOLDER, "labels": "labels.csv"}
    (tmp_path / "labels.csv").write_text("name,label\na.jpg,x\n")
    before = scan_now(tmp_path, source)
    (tmp_path / "labels.csv").write_text("name,label\na.jpg,y\n")
    assert scan_now(tmp_path, source) != before


def test_times_hidden_files_and_the_table_itself_do_not_count(tmp_path, photos):
    (photos / "labels.csv").write_text("name,label\na.jpg,x\n")
    source = {**FOLDER, "labels": "labels.csv"}
    before = scan_now(tmp_path, source)
    (photos / ".hidden.jpg").write_bytes(b"x")
    (photos / ".cache").mkdir()
    (photos / ".cache" / "d.jpg").write_bytes(b"x")
    os.utime(photos / "a.jpg", ns=(2 * 10**18, 10**18))
    assert scan_now(tmp_path, source) == before
    assert before["photos"]["files"] == 3


def test_links_are_followed_inside_only(tmp_path, photos, caplog):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (photos / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (photos / "in.jpg").symlink_to(photos / "a.jpg")
    (photos / "loop").symlink_to(photos)
    with caplog.at_level(logging.WARNING):
        assert scan_now(tmp_path, FOLDER)["photos"]["files"] == 4
    assert "1 links lead outside" in caplog.text


def test_a_freshly_written_file_is_read_again(tmp_path, photos, monkeypatch):
    """Its content may change once more within the clock's resolution."""
    (photos / "a.jpg").write_bytes(b"one")
    status = (photos / "a.jpg").stat()
    monkeypatch.setattr(content_hashes, "time_ns", lambda: status.st_mtime_ns + 10**9)
    before = scan_now(tmp_path, FOLDER)
    (photos / "a.jpg").write_bytes(b"two")
    os.utime(photos / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert scan_now(tmp_path, FOLDER) != before


def test_a_damaged_cache_is_made_again(tmp_path, photos):
    before = scan_now(tmp_path, FOLDER)
    for path in (tmp_path / ".darkroom/scan").iterdir():
        path.write_bytes(b"\xff not a cache\n")
    assert scan_now(tmp_path, FOLDER) == before


def test_a_list_is_digested_by_content(tmp_path):
    source = {"kind": "list", "path": "urls.txt"}
    (tmp_path / "urls.txt").write_text("http://a.org/1.jpg\n")
    before = scan_now(tmp_path, source)
    (tmp_path / "urls.txt").write_text("http://a.org/2.jpg\n")
    assert scan_now(tmp_path, source) != before


@pytest.mark.parametrize("source", [FOLDER, {"kind": "list", "path": "photos/a.jpg"}])
def test_an_absent_source_keeps_its_entry_with_a_warning(tmp_path, photos, caplog, source):
    before = scan_now(tmp_path, source)
    photos.rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert scan_now(tmp_path, source) == before
    assert "is not on this machine" in caplog.text


def test_a_source_that_is_taken_out_of_params_loses_its_entry(tmp_path, photos):
    scan_now(tmp_path, FOLDER, {"kind": "sample"})
    assert set(scan_now(tmp_path, {"kind": "sample"})) == {"sample"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "folder", "path": "missing"}, "path: missing: there is no folder"),
        ({"kind": "folder", "path": "empty"}, "path: empty: no file in"),
        ({"kind": "folder", "path": "photos/a.jpg"}, "is a file; expected a folder"),
        ({"kind": "folder", "path": "photos", "labels": "no.csv"}, "labels: no.csv is not there"),
        ({"kind": "list", "path": "missing.txt"}, "path: missing.txt: there is no file"),
        ({"kind": "list", "path": "photos"}, "is a folder; expected a file"),
    ],
    ids=["missing", "empty", "a file", "no table", "no list", "list is a folder"],
)
def test_a_wrong_source_is_explained(tmp_path, photos, source, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        scan_now(tmp_path, source)


def test_two_sources_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="sources named photos come twice; give each a `name`"):
        params_for(FOLDER, FOLDER)
    params_for(FOLDER, {**FOLDER, "name": "again"})


RATED = {"kind": "folder", "path": "photos", "labels": "ratings.csv"}


def rate(root, photos, *means, **settings):
    """Scan a folder whose images have these means; `settings` are those of train and evaluate."""
    names = ("a.jpg", "b.jpg", "sub/c.jpg")
    rows = [f"{name},{mean}" for name, mean in zip(names, means, strict=True)]
    (photos / "ratings.csv").write_text("\n".join(["name,mean", *rows]) + "\n")
    values = read_values()
    values["download"]["sources"] = [RATED]
    values["train"] |= {"task": "rating"} | settings.pop("train", {})
    values["evaluate"] |= settings
    scan.run(root, check_params(values, Params))


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ((0.1, 0.5, 0.9), r"from 0.1 to 0.9, beyond the scale from 1 to 10: .* {low: 0, high: 1, "),
        ((1, 47, 83), r"from 1 to 83, beyond .* perhaps {low: 1, high: 100, bins: 10}, and eval"),
        ((-3, 5, 2), r"from -3 to 5, beyond .* set it to theirs, and evaluate.cutoff"),
    ],
)
def test_ratings_beyond_the_scale_stop_before_any_work(tmp_path, photos, means, words):
    with pytest.raises(UserError, match=words):
        rate(tmp_path, photos, *means)
    assert not (tmp_path / scan.TARGET).exists()


def test_votes_of_other_bins_stop_before_any_work(tmp_path, photos):
    (photos / "ratings.csv").write_text("name,rating_1,rating_2\na.jpg,1,2\n")
    with pytest.raises(UserError, match=r"csv:2: 2 counts of votes, but .* has 10 bins"):
        scan_now(tmp_path, RATED)


@pytest.mark.parametrize(
    ("means", "cutoff", "words"),
    [
        ((6, 9, 7), 5, "each of 3 means is above 5, so that no model can tell good from bad; the "
                       "middle one is 7"),
        ((2, 6, 3), 8, "none of 3 means is above 8"),
        ((1.2, 1.9, 1.4), 1.3, "from 1.2 to 1.9 only, of train.scale 1 to 10: is that their scale"),
        ((2, 9, 7), 5, None),
    ],
)  # fmt: skip
def test_an_odd_cutoff_or_scale_is_said_until_it_is_mended(
    tmp_path, photos, caplog, means, cutoff, words
):
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            rate(tmp_path, photos, *means, cutoff=float(cutoff))
        assert len(caplog.messages) == (words is not None)
        assert words is None or words in caplog.text


def test_ratings_are_looked_at_once_per_sources_and_settings(tmp_path, photos, monkeypatch):
    rate(tmp_path, photos, 2, 9, 7)
    monkeypatch.setattr(scan, "check_ratings", lambda *_: pytest.fail("looked at again"))
    rate(tmp_path, photos, 2, 9, 7)
    with pytest.raises(pytest.fail.Exception):
        rate(tmp_path, photos, 2, 9, 7, cutoff=6.0)
