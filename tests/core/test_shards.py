import hashlib
import tarfile

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core import shards
from darkroom.core.errors import UserError
from tests.harness import read_tar

MEMBERS = [("a.jpg", b"first"), ("b.png", b""), ("c.gif", b"x" * 1500)]


def test_a_key_is_half_of_the_sha256():
    assert shards.key_of(b"abc") == hashlib.sha256(b"abc").hexdigest()[:32]


def test_any_tar_reader_gets_the_pictures_back(tmp_path):
    shards.write_shard(tmp_path / "00000.tar", MEMBERS)
    with tarfile.open(tmp_path / "00000.tar") as archive:
        found = [(info.name, archive.extractfile(info).read()) for info in archive]
    assert found == MEMBERS
    assert read_tar(tmp_path / "00000.tar") == dict(MEMBERS)


@pytest.mark.parametrize("name", ["a.jpg", "a" * 100, "ä.png", "folder/" * 20 + "a.jpg"])
def test_headers_are_those_of_tarfile(tmp_path, name):
    shards.write_shard(tmp_path / "00000.tar", [(name, b"x" * 1000)])
    info = tarfile.TarInfo(name)
    info.size = 1000
    header = (tmp_path / "00000.tar").read_bytes()[:512]
    assert header == info.tobuf(tarfile.USTAR_FORMAT)


@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_every_member_is_read_back_from_its_place(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("shards")
    members = [(f"{number}.bin", content) for number, content in enumerate(contents)]
    places = shards.write_shard(folder / "00007.tar", members)
    assert [shards.read_member(folder, place) for place in places] == contents
    again = folder / "again.tar"
    shards.write_shard(again, members)
    assert again.read_bytes() == (folder / "00007.tar").read_bytes()


def test_a_shard_that_is_cut_off_is_an_error_not_a_short_image(tmp_path):
    places = shards.write_shard(tmp_path / "00000.tar", MEMBERS)
    whole = (tmp_path / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[: places[-1].offset + 10])
    with pytest.raises(UserError, match="is cut off: expected"):
        shards.read_member(tmp_path, places[-1])


def test_a_writer_that_fails_publishes_nothing(tmp_path):
    def members():
        yield "a", b"1"
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        shards.write_shard(tmp_path / "00000.tar", members())
    assert not (tmp_path / "00000.tar").exists()


def index(*rows):
    return pd.DataFrame(rows, columns=["key", "shard", "offset", "size", "status"])


def test_stored_lists_each_key_once_with_those_of_withdrawn_records_and_without_failures():
    table = index(
        ("b", "00000.tar", 1024.0, 5.0, "kept"),
        ("a", "00000.tar", 512.0, 4.0, "withdrawn"),
        ("b", "00000.tar", 1024.0, 5.0, "kept"),
        (None, None, None, None, "failed"),
    )
    stored = shards.stored(table)
    assert list(stored["key"]) == ["a", "b"]
    assert stored["offset"].dtype == "int64"


def test_a_fingerprint_depends_on_members_not_on_their_order_or_labels():
    table = shards.stored(
        index(("a", "00000.tar", 512, 4, "kept"), ("b", "00000.tar", 1024, 5, "kept"))
    )
    assert shards.fingerprint(table) == shards.fingerprint(table[::-1])
    assert shards.fingerprint(table) != shards.fingerprint(table[:1])
