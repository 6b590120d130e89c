"""Damage inside a sound structure is found in every format; damage beside a picture is flagged."""

import csv
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.images.decode import read_image
from tests.harness import fault_of
from tests.images.integrity.test_check import encode, moving, photograph, still

INSIDE = Path(__file__).parents[3] / ".." / "shared" / "data" / "inside"
SIDE = 24
ROWS = np.random.default_rng(0).integers(0, 256, (SIDE, 3 * SIDE), np.uint8)


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum or right)


END = b"\0\0\0\0IEND\xaeB`\x82"


def png(
    raw=None, stream=None, before=b"", after=b"", interlace=0, end=END, depth=8, colours=2
) -> bytes:
    """Return a PNG of these filtered rows, or of this stream."""
    if raw is None:
        raw = b"".join(b"\0" + row.tobytes() for row in ROWS)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colours, 0, 0, interlace)
    data = zlib.compress(raw) if stream is None else stream
    return b"".join([
        b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), before, chunk(b"IDAT", data), after, end,
    ])  # fmt: skip


def filtered(row: int, kind: int) -> bytes:
    rows = [bytes([kind if n == row else 0]) + ROWS[n].tobytes() for n in range(SIDE)]
    return b"".join(rows)


def interlaced() -> bytes:
    """Return the filtered rows of Adam7 with the same colours."""
    pixels = ROWS.reshape(SIDE, SIDE, 3)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2))  # fmt: skip
    return b"".join(
        b"\0" + row.tobytes()
        for left, top, across, down in passes
        for row in pixels[top::down, left::across]
    )


WHOLE = zlib.compress(filtered(0, 0))


def gif_codes() -> tuple[bytes, int, int]:
    """Return a GIF, where its blocks of codes begin, and how long the first is."""
    content = still("GIF")
    start = content.index(b"\x2c\0\0\0\0") + 10
    start += 3 * 2 ** ((content[start - 1] & 7) + 1) if content[start - 1] & 0x80 else 0
    return content, start + 1, content[start + 1]


def gif_without_half_its_codes() -> bytes:
    content, at, size = gif_codes()
    return content[: at + 1 + size] + b"\0;"


def gif_with_codes_that_do_not_exist() -> bytes:
    content, at, _ = gif_codes()
    return content[: at + 1] + b"\xff" * 20 + content[at + 21 :]


def riff(content: bytes, kind: bytes, change) -> bytes:
    """Change the body of a chunk of a WebP, with all lengths right."""
    at = content.index(kind, 12)
    size = struct.unpack_from("<I", content, at + 4)[0]
    body = change(content[at + 8 : at + 8 + size])
    new = struct.pack("<I", len(body)) + body + bytes(len(body) & 1)
    content = content[: at + 4] + new + content[at + 8 + size + (size & 1) :]
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def tiff_strip(change, **options) -> bytes:
    """Change the data of the only strip of a TIFF in place."""
    image = photograph().convert("1") if "group" in options["compression"] else photograph()
    content = bytearray(encode(image, "TIFF", **options))
    first = struct.unpack_from("<I", content, 4)[0]
    tags = {
        struct.unpack_from("<H", content, at)[0]: at
        for at in range(first + 2, first + 2 + 12 * content[first], 12)
    }
    start = struct.unpack_from("<I", content, tags[273] + 8)[0]
    size = struct.unpack_from("<I", content, tags[279] + 8)[0]
    content[start : start + size] = change(bytes(content[start : start + size]))
    return bytes(content)


def bmp_of_runs(*runs: bytes) -> bytes:
    """Return a BMP of 8 pixels by 2 in runs of 8 bits."""
    data, colours = b"".join(runs), bytes(range(256)) * 4
    header = struct.pack("<IiiHHIIiiII", 40, 8, 2, 1, 8, 1, len(data), 0, 0, 0, 0)
    start = 14 + len(header) + len(colours)
    return struct.pack("<2sIII", b"BM", start + len(data), 0, start) + header + colours + data


def tiff_with_far_words() -> bytes:
    """Return a TIFF whose description lies beyond the end."""
    content = still("TIFF", compression="tiff_lzw", description="x" * 99)
    at = content.index(struct.pack("<HHI", 270, 2, 100)) + 8
    return content[:at] + struct.pack("<I", len(content)) + content[at + 4 :]


def half_zeros(data: bytes) -> bytes:
    return data[: len(data) // 2].ljust(len(data), b"\0")


def tiff_of_fewer_strips() -> bytes:
    """Return a TIFF that is higher than the strips it names."""
    content = bytearray(still("TIFF"))
    height = content.index(struct.pack("<HHI", 257, 4, 1)) + 8
    content[height : height + 4] = struct.pack("<I", 300)
    return bytes(content)


def jpeg_with(place: bytes, extra: bytes, **options) -> bytes:
    content = still("JPEG", **options)
    at = content.index(place)
    return content[:at] + extra + content[at:]


def overwritten_scan() -> bytes:
    content = bytearray(still("JPEG", quality=95))
    at = content.index(b"\xff\xda") + 200
    content[at : at + 40] = b"\x55" * 20 + b"\xff\xd3" + b"\x55" * 18
    return bytes(content)


BROKEN = {
    "png, unknown filter": lambda: png(filtered(7, 9)),
    "png, unknown filter in the last row": lambda: png(filtered(SIDE - 1, 5)),
    "png, unknown filter, interlaced": lambda: png(b"\7" + interlaced()[1:], interlace=1),
    "png, wrong checksum of the rows": lambda: png(stream=WHOLE[:-1] + bytes([WHOLE[-1] ^ 1])),
    "png, wrong checksum in a chunk of its own": lambda: png(
        stream=WHOLE[:-4], after=chunk(b"IDAT", b"none")),
    "png, too few rows": lambda: png(filtered(0, 0)[: -1 - 3 * SIDE]),
    "png, too few rows, interlaced": lambda: png(interlaced()[:-1], interlace=1),
    "png, no end of the stream": lambda: png(stream=WHOLE[: len(WHOLE) // 2]),
    "png, no checksum of the rows": lambda: png(stream=WHOLE[:-4]),
    "png, twice the rows": lambda: png(filtered(0, 0) * 2),
    "png, its data in two places": lambda: png(
        stream=WHOLE[:50], after=chunk(b"tIME", bytes(7)) + chunk(b"IDAT", WHOLE[50:])),
    "png, unknown critical chunk": lambda: png(before=chunk(b"NEEd", b"")),
    "png, unknown colour type": lambda: png(colours=1),
    "png, unknown depth": lambda: png(depth=3),
    "png, no palette": lambda: png(colours=3),
    "png, no data": lambda: png().replace(b"IDAT", b"iDAT"),
    "gif, codes end early": gif_without_half_its_codes,
    "gif, unknown codes": gif_with_codes_that_do_not_exist,
    "bmp, a run beyond its row": lambda: bmp_of_runs(b"\x09\1", b"\0\0", b"\x08\2", b"\0\1"),
    "bmp, too few runs": lambda: bmp_of_runs(b"\x08\1", b"\0\0", b"\7\2", b"\0\1"),
    "jpeg, overwritten data": overwritten_scan,
    "jpeg, a second picture in the junk": lambda: jpeg_with(b"\xff\xdb", still("JPEG")),
    "webp, too little data": lambda: riff(still("WEBP"), b"VP8 ", lambda body: body[:-20]),
    "webp lossless, too little data": lambda: riff(
        still("WEBP", lossless=True), b"VP8L", lambda body: body[:-20]),
    "tiff, fewer strips": tiff_of_fewer_strips,
    **{
        f"tiff {kind}, half is zeros": (lambda kind=kind: tiff_strip(half_zeros, compression=kind))
        for kind in ("tiff_adobe_deflate", "tiff_lzw", "group4")
    },
    "tiff deflate, wrong checksum": lambda: tiff_strip(
        lambda data: data[:-1] + bytes([data[-1] ^ 1]), compression="tiff_adobe_deflate"),
    "tiff group3, lines of wrong length": lambda: tiff_strip(
        lambda data: data[:20] + b"\x5a" * 9 + data[29:], compression="group3"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_damage_inside_a_sound_structure_is_found(name):
    assert fault_of(BROKEN[name]()) in {"corrupt", "truncated"}


JPEG, COMMENT = b"\xff\xdb", b"note\0"

BESIDE = {
    "png, unknown compression of a comment": lambda: (
        png(), png(before=chunk(b"zTXt", COMMENT + b"\7" + zlib.compress(b"x")))),
    "png, broken stream of a comment": lambda: (
        png(), png(before=chunk(b"zTXt", COMMENT + b"\0zzzz"))),
    "png, broken profile": lambda: (
        png(), png(before=chunk(b"iCCP", COMMENT + b"\0" + zlib.compress(b"no profile")))),
    "png, wrong checksum of a comment": lambda: (
        png(), png(before=chunk(b"tEXt", COMMENT + b"x", checksum=1))),
    "png, transparency of no such length": lambda: (
        png(), png(before=chunk(b"tRNS", bytes(5)))),
    "png, animation without frame control": lambda: (
        png(), png(before=chunk(b"acTL", struct.pack(">II", 2, 0)),
                   after=chunk(b"fdAT", bytes(4) + WHOLE))),
    "png, no end": lambda: (png(), png(end=b"")),
    "png, stray bytes behind the rows": lambda: (png(), png(stream=WHOLE + b"stray")),
    "png, broken chunk behind the rows": lambda: (
        png(), png(after=chunk(b"tIME", bytes(7)) + chunk(b"IDAT", b"x", checksum=1))),
    "gif, no end": lambda: (still("GIF"), still("GIF")[:-1]),
    "gif, stray bytes between frames": lambda: (
        moving("GIF"), moving("GIF").replace(b"\0\x21\xf9", b"\0\1\1\x21\xf9")),
    "webp, later frame cut": lambda: (moving("WEBP"), moving("WEBP")[:-40]),
    "webp, cut comment": lambda: (
        still("WEBP", xmp=b"x" * 99), still("WEBP", xmp=b"x" * 99)[:-50]),
    "tiff, cut words": lambda: (
        still("TIFF", compression="tiff_lzw", description="x" * 99),
        tiff_with_far_words()),
    "tiff, later page cut": lambda: (moving("TIFF"), moving("TIFF")[:-200]),
    "jpeg 2000, cut box behind the picture": lambda: (
        still("JPEG2000"), still("JPEG2000") + struct.pack(">I", 99) + b"xml <x>"),
    "jpeg, stray bytes": lambda: (still("JPEG"), jpeg_with(JPEG, b"\x12\x34\0\x56\7")),
    "jpeg, stray bytes, progressive": lambda: (
        still("JPEG", progressive=True), jpeg_with(b"\xff\xc4", b"stray", progressive=True)),
    "jpeg, stray bytes, cmyk": lambda: (
        encode(photograph().convert("CMYK"), "JPEG"),
        encode(photograph().convert("CMYK"), "JPEG").replace(b"\xff\xdb", b"stray\xff\xdb", 1)),
    "jpeg, short adobe segment": lambda: (
        still("JPEG"), jpeg_with(JPEG, b"\xff\xee\0\x08Adobe\0")),
    "jpeg, part 5 of 2 of a profile": lambda: (
        still("JPEG"), jpeg_with(JPEG, b"\xff\xe2\0\x14ICC_PROFILE\0\5\2zzzz")),
    "jpeg, broken profile": lambda: (still("JPEG"), still("JPEG", icc_profile=b"no profile")),
    "jpeg, broken exif": lambda: (
        still("JPEG"), jpeg_with(JPEG, b"\xff\xe1\0\x0cExif\0\0zzzz")),
    "jpeg, later version of jfif": lambda: (
        still("JPEG"), still("JPEG").replace(b"JFIF\0\1", b"JFIF\0\7")),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_damage_beside_a_whole_picture_is_kept_and_flagged(name):
    whole, damaged = (read_image(content, 10**6) for content in BESIDE[name]())
    assert not whole.odd_structure
    assert damaged.odd_structure
    assert np.array_equal(damaged.pixels, whole.pixels)


def test_what_png_allows_is_no_damage():
    rows = ROWS.reshape(SIDE, SIDE, 3)
    split = png(stream=WHOLE[:9], after=chunk(b"IDAT", WHOLE[9:]) + chunk(b"tIME", bytes(7)))
    for content in (png(), split, png(interlaced(), interlace=1)):
        found = read_image(content, 10**6)
        assert np.array_equal(found.pixels, rows)
        assert not found.odd_structure


def test_runs_of_a_bmp_that_fill_their_rows_are_whole():
    literal = bytes([0, 7, 5, 5, 5, 5, 5, 5, 5, 0])  # seven pixels, padded
    content = bmp_of_runs(literal, b"\1\5", b"\0\0", b"\x08\5", b"\0\1")
    assert len(np.unique(read_image(content, 100).pixels.reshape(-1, 3), axis=0)) == 1


def test_a_turned_and_coloured_picture_stays_so_between_stray_bytes():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = still("JPEG", exif=exif)
    damaged = content.replace(JPEG, b"stray" + JPEG, 1)
    found = read_image(damaged, 10**6)
    assert found.odd_structure
    assert np.array_equal(found.pixels, read_image(content, 10**6).pixels)


@pytest.mark.skipif(not INSIDE.exists(), reason="the pictures are not here")
def test_the_pictures_with_known_damage_have_their_verdict():
    rows = csv.DictReader((INSIDE / "expected.csv").read_text().splitlines())
    expected = {row["name"]: row["status"] for row in rows}
    found = {
        name: "rejected" if fault_of((INSIDE / name).read_bytes()) else "kept" for name in expected
    }
    assert found == expected
