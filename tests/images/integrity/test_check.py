"""Cut, forged and hostile files of every format, made from a small picture."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from darkroom.images.decode import DecodeError, decode, read_image
from darkroom.images.formats import sniff, sniff_extension
from darkroom.images.integrity import check, jpeg
from tests.harness import fault_of

SAMPLES = Path(__file__).parents[1] / "samples"


def photograph(width=42, height=30) -> Image.Image:
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, *later: Image.Image, **options) -> bytes:
    if later:
        options |= {"save_all": True, "append_images": later}
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def still(kind: str, **options) -> bytes:
    return encode(photograph(), kind, **options)


def moving(kind: str, **options) -> bytes:
    first = photograph()
    return encode(first, kind, ImageOps.mirror(photograph()), ImageOps.flip(first), **options)


def plain(maximum=255) -> bytes:
    pixels = np.asarray(photograph(9, 7))
    rows = "\n".join(" ".join(map(str, row.ravel())) for row in pixels)
    return f"P3\n# digits\n9 7\n{maximum}\n{rows}\n".encode()


# A file, and how many of its last bytes nothing needs.
WHOLE = {
    "jpeg": (lambda: still("JPEG"), 0),
    "jpeg progressive": (lambda: still("JPEG", progressive=True), 0),
    "jpeg with restarts": (lambda: still("JPEG", restart_marker_blocks=1), 0),
    "jpeg grey": (lambda: encode(photograph().convert("L"), "JPEG"), 0),
    "jpeg cmyk": (lambda: encode(photograph().convert("CMYK"), "JPEG"), 0),
    "png": (lambda: still("PNG"), 0),
    "png animated": (lambda: moving("PNG"), 0),
    "gif": (lambda: still("GIF"), 0),
    "gif animated": (lambda: moving("GIF"), 0),
    "bmp": (lambda: still("BMP"), 2),  # the last row's padding
    "tiff": (lambda: still("TIFF"), 0),
    "tiff lzw": (lambda: still("TIFF", compression="tiff_lzw"), 0),
    "tiff deflate": (lambda: still("TIFF", compression="tiff_adobe_deflate"), 0),
    "tiff packbits": (lambda: still("TIFF", compression="packbits"), 0),
    "tiff group 3": (lambda: encode(photograph().convert("1"), "TIFF", compression="group3"), 0),
    "tiff big": (lambda: still("TIFF", big_tiff=True), 0),
    "tiff fax": (lambda: encode(photograph().convert("1"), "TIFF", compression="group4"), 0),
    "tiff jpeg": (lambda: still("TIFF", compression="jpeg"), 0),
    "webp": (lambda: still("WEBP"), 0),
    "webp lossless": (lambda: still("WEBP", lossless=True), 0),
    "webp animated": (lambda: moving("WEBP"), 0),
    "ppm": (lambda: still("PPM"), 0),
    "ppm plain": (lambda: plain(), 0),
    "pbm": (lambda: encode(photograph().convert("1"), "PPM"), 0),
    "avif": (lambda: still("AVIF", speed=10), 0),
    "avif animated": (lambda: moving("AVIF", speed=10), 0),
    "heif": (lambda: (SAMPLES / "chelsea.heic").read_bytes(), 0),
    "heif alpha": (lambda: (SAMPLES / "transparent.heic").read_bytes(), 0),
    "jpeg 2000": (lambda: still("JPEG2000"), 0),
    "jpeg 2000 tiles": (lambda: still("JPEG2000", tile_size=(16, 16)), 0),
    "jpeg 2000 stream": (lambda: still("JPEG2000", no_jp2=True), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_at_any_byte_is_kept_with_all_its_pixels_and_a_flag_or_not_at_all(name):
    make, needless = WHOLE[name]
    content = make()
    whole = read_image(content, 10**6)
    assert not whole.odd_structure
    last = len(content) - needless
    ends = sorted(
        {*range(1, min(last, 400)), *range(400, last, 7), *range(max(1, last - 40), last)}
    )
    early = []
    for end in ends:
        try:
            left = read_image(content[:end], 10**6)
        except DecodeError as error:
            early += [error.reason] * (end > 64)
        else:
            assert left.odd_structure, end
            assert np.array_equal(left.pixels, whole.pixels), end
    assert early.count("truncated") >= 0.9 * len(early)


@pytest.mark.parametrize("name", sorted(set(WHOLE) - {"ppm plain"}))
def test_what_follows_a_whole_picture_does_not_matter(name):
    content = WHOLE[name][0]()
    expected = decode(content)
    for tail in (b"\0" * 700, b"\n", np.random.default_rng(2).bytes(3000), content[:50]):
        assert np.array_equal(decode(content + tail), expected)


def test_the_kinds_are_told_by_their_bytes():
    names = {name: sniff_extension(make()) for name, (make, _) in WHOLE.items()}
    assert {extension for extension in names.values()} == {
        "jpg", "png", "gif", "bmp", "tif", "webp", "ppm", "avif", "heic", "jp2"
    }  # fmt: skip
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"
    assert sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") == "HEIF"
    assert sniff(b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1") is None


def scans_of(content: bytes) -> list[int]:
    """Return where each scan begins."""
    return [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]


def test_a_progressive_jpeg_that_ends_between_scans_lacks_something_despite_an_end_marker():
    content = still("JPEG", progressive=True)
    starts = scans_of(content)
    assert len(starts) > 4
    for start in starts[1:]:
        assert fault_of(content[:start] + b"\xff\xd9") in {"truncated", "corrupt"}
    before_tables = content.rfind(b"\xff\xc4", 0, starts[-1])
    assert fault_of(content[:before_tables] + b"\xff\xd9") == "truncated"


def test_the_end_marker_of_a_thumbnail_is_not_that_of_the_picture():
    thumbnail = encode(photograph(9, 6), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    content = still("JPEG", progressive=True)
    content = content[:2] + segment + content[2:]
    assert fault_of(content) is None
    found = [fault_of(content[:end]) for end in range(400, len(content), 3)]
    assert None not in found
    assert found.count("truncated") > 0.9 * len(found)


def test_thousands_of_scans_are_refused_before_they_take_their_time():
    content = encode(photograph(640, 480), "JPEG", progressive=True)
    starts = scans_of(content)
    last = content[content.rfind(b"\xff\xc4", 0, starts[-1]) : -2]
    bomb = content[:-2] + last * (jpeg.MAX_SCANS + 1) + b"\xff\xd9"
    assert fault_of(bomb) == "corrupt"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_an_animation_or_document_gives_its_first_picture(kind):
    content = moving(kind)
    first = read_image(content, 10**6)
    assert np.abs(first.pixels.astype(int) - np.asarray(photograph())).mean() < 15
    if kind != "AVIF":  # of a sequence of these libavif asks for all
        left = read_image(content[: len(content) * 5 // 6], 10**6)
        assert left.odd_structure
        assert np.array_equal(left.pixels, first.pixels)


def test_of_a_burst_the_first_picture_is_enough():
    burst = moving("MPO")
    later = burst.index(b"\xff\xd9") + 2
    assert np.array_equal(decode(burst[: later + 300]), decode(burst))
    assert read_image(burst, 10**6).format == "JPEG"


def test_a_jpeg_2000_without_its_last_tile_is_truncated():
    content = still("JPEG2000", no_jp2=True, tile_size=(16, 16))
    last = content.rfind(b"\xff\x90\x00\x0a")
    assert fault_of(content[:last] + b"\xff\xd9") == "truncated"


def test_a_webp_whose_header_was_made_to_fit_is_still_truncated():
    content = bytearray(still("WEBP")[:-100])
    content[4:8] = struct.pack("<I", len(content) - 8)
    assert fault_of(bytes(content)) == "truncated"


def test_items_beyond_the_end_are_missed_even_in_a_box_without_length():
    content = bytearray(still("AVIF", speed=10))
    at = content.index(b"mdat") - 4
    content[at : at + 4] = bytes(4)  # up to the end of the file, wherever that is
    assert fault_of(bytes(content)) is None
    assert fault_of(bytes(content[:-1])) == "truncated"


def test_a_broken_jpeg_strip_of_a_tiff_is_found():
    content = bytearray(still("TIFF", compression="jpeg", quality=95))
    start = content.index(b"\xff\xda") + 30
    content[start : start + 40] = b"\xff\x00" * 20
    assert fault_of(bytes(content)) == "corrupt"


def test_tiffs_that_no_library_checks_and_camera_files_are_refused():
    assert fault_of(still("TIFF", compression="lzma")) == "unsupported_format"
    assert fault_of(still("TIFF", tiffinfo={254: 1})) == "unsupported_format"


def test_a_tiff_whose_tags_all_point_to_the_same_numbers_is_read_once():
    entry = struct.pack("<HHII", 273, 4, 200_000, 8)
    many = (
        b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", 60_000)
        + entry * 60_000
        + bytes(900_000)
    )
    assert fault_of(many) is not None


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_comment_that_inflates_without_end_harms_no_png(kind):
    head = b"note\0\1\0\0\0" if kind == b"iTXt" else b"note\0\0"
    body = head + zlib.compress(bytes(50 * 2**20), 9)
    chunk = struct.pack(">I", len(body)) + kind + body
    chunk += struct.pack(">I", zlib.crc32(kind + body))
    content = still("PNG")
    bomb = content[:33] + chunk + content[33:]
    assert np.array_equal(decode(bomb), decode(content))


def patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def huge(kind: str) -> bytes:
    """Return a small file that declares 60,000 × 60,000 pixels, or as many as its format can."""
    content = (SAMPLES / "chelsea.heic").read_bytes() if kind == "HEIF" else still(kind.split()[0])
    two, four = struct.pack("<HH", 60_000, 60_000), struct.pack(">II", 60_000, 60_000)
    if kind == "JPEG":
        return patched(content, content.index(b"\xff\xc0") + 5, struct.pack(">HH", 60_000, 60_000))
    if kind == "PNG":
        header = b"IHDR" + four + content[24:29]
        return patched(content, 12, header + struct.pack(">I", zlib.crc32(header)))
    if kind == "GIF":
        return patched(content, 6, two)
    if kind == "GIF frame":  # on a small screen, which Pillow widens
        content = still("GIF")
        return patched(content, content.index(b"\x2c\0\0\0\0") + 5, two)
    if kind == "BMP":
        return patched(content, 18, struct.pack("<ii", 60_000, 60_000))
    if kind == "WEBP":
        lossless = still("WEBP", lossless=True)
        return patched(lossless, 21, struct.pack("<I", 16383 | 16383 << 14))
    if kind == "PPM":
        return b"P6\n60000 60000\n255\n" + bytes(99)
    if kind == "TIFF":
        big = content
        for tag in (256, 257):
            at = big.index(struct.pack("<HHI", tag, 4, 1))
            big = patched(big, at + 8, struct.pack("<I", 60_000))
        return big
    if kind == "JPEG2000":
        content = still("JPEG2000", no_jp2=True)
        return patched(content, 8, four)
    return patched(content, content.index(b"ispe") + 8, four)


@pytest.mark.parametrize(
    "kind",
    ["JPEG", "PNG", "GIF", "GIF frame", "BMP", "WEBP", "PPM", "TIFF", "JPEG2000", "AVIF", "HEIF"],
)
def test_a_huge_size_is_refused_from_the_header_alone(kind):
    assert fault_of(huge(kind), max_pixels=10**8) == "too_many_pixels"


def test_every_format_has_its_check_or_a_library_that_is_strict():
    for make, _ in WHOLE.values():
        content = make()
        check.picture(sniff(content), content)


def test_items_of_no_known_kind_do_not_crash_the_decoder_of_heif():
    content = (SAMPLES / "turned.heic").read_bytes()
    at = content.index(b"Exif", content.index(b"infe"))
    assert fault_of(patched(content, at, b"Ex\xff\xff")) == "corrupt"
    assert fault_of(patched(content, at, b"Exi\xc3")) == "corrupt"
    assert fault_of(patched(content, at, b"abcd")) is None
