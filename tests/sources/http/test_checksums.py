"""Checksums as lists write them."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.sources.http.checksums import parse_checksum

ALGORITHMS = ["md5", "sha1", "sha256", "sha512"]


@given(content=st.binary(), algorithm=st.sampled_from(ALGORITHMS), form=st.integers(0, 6))
def test_every_form_is_understood_and_finds_other_bytes(content, algorithm, form):
    digest = hashlib.new(algorithm, content).digest()
    text = [
        digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode(),
        base64.urlsafe_b64encode(digest).decode(), f"{algorithm}:{digest.hex()}",
        f"{algorithm}-{base64.b64encode(digest).decode()}",
        f" {algorithm.upper().replace('SHA', 'SHA-')}={digest.hex()} ",
    ][form]  # fmt: skip
    checksum = parse_checksum(text)
    assert checksum == (algorithm, digest)
    assert checksum.matches(content)
    assert not checksum.matches(content + b"x")


def test_an_empty_cell_asks_for_nothing():
    assert parse_checksum("  ") is None


@pytest.mark.parametrize(
    "text", ["abc", "z" * 32, "0" * 31, "sha256:" + "0" * 32, "crc32:00000000", "é" * 64, "-", "0x"]
)
def test_anything_else_is_explained(text):
    with pytest.raises(ValueError, match="expected an md5, sha1, sha256 or sha512"):
        parse_checksum(text)
