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
