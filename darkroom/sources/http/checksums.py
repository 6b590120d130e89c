"""Checksums that a list of URLs gives for its images: md5, sha1, sha256 or sha512, by length.

Written as hexadecimal digits or base64, with or without the name of the algorithm before it, as
`sha256:9f86…` or `sha256-n4bQ…`.
"""

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

_BY_SIZE = {16: "md5", 20: "sha1", 32: "sha256", 64: "sha512"}
_NAMED = re.compile(r"(md5|sha-?1|sha-?256|sha-?512)[:=-](.*)", re.IGNORECASE | re.DOTALL)


class Checksum(NamedTuple):
    """What the bytes of an image must hash to."""

    algorithm: str
    digest: bytes

    def matches(self, content: bytes) -> bool:
        """Return whether these are the bytes that were meant."""
        return hashlib.new(self.algorithm, content, usedforsecurity=False).digest() == self.digest


def parse_checksum(text: str) -> Checksum | None:
    """Return what a cell says, None if it is empty. Raises ValueError with what was expected."""
    text = text.strip()
    if not text:
        return None
    named = _NAMED.fullmatch(text)
    digest = _decode(named[2].strip() if named else text)
    algorithm = _BY_SIZE.get(len(digest))
    if algorithm is None or (named and named[1].lower().replace("-", "") != algorithm):
        raise ValueError(
            "expected an md5, sha1, sha256 or sha512 in hexadecimal digits (32, 40, 64 or 128) or"
            f" base64; got {text!r}"
        )
    return Checksum(algorithm, digest)


def _decode(text: str) -> bytes:
    try:
        if len(text) in {2 * size for size in _BY_SIZE}:
            return bytes.fromhex(text)
        return base64.b64decode(text, altchars=b"-_" if set(text) & set("-_") else None,
                                validate=True)  # fmt: skip
    except (ValueError, binascii.Error):
        return b""
