import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from darkroom.images.decode import DecodeError, decode, read_image
from darkroom.images.resize import resize
from tests.harness import fault_of

ODD = Path(__file__).parents[2] / ".." / "shared" / "data" / "odd"


def photograph(height=60, width=84) -> Image.Image:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (5, 7, 3), np.uint8)
    soft = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    noise = rng.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_exif(orientation: int, thumbnail: bytes = b"") -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if thumbnail:
        exif[ExifTags.Base.ImageDescription] = thumbnail.decode("latin-1")
    return encode(photograph(), "JPEG", exif=exif)


ENCODED = {
    "jpeg": lambda: encode(photograph(), "JPEG", quality=90),
    "jpeg_progressive": lambda: encode(photograph(), "JPEG", quality=90, progressive=True),
    "jpeg_grey": lambda: encode(photograph().convert("L"), "JPEG"),
    "jpeg_cmyk": lambda: encode(photograph().convert("CMYK"), "JPEG"),
    "jpeg_with_thumbnail": lambda: with_exif(1, thumbnail=encode(photograph(9, 9), "JPEG")),
    "png": lambda: encode(photograph(), "PNG"),
    "png_palette": lambda: encode(photograph().quantize(64), "PNG"),
    "png_alpha": lambda: encode(photograph().convert("RGBA"), "PNG"),
    "gif": lambda: encode(photograph(), "GIF"),
    "gif_animated": lambda: encode(
        photograph(), "GIF", save_all=True, append_images=[ImageOps.mirror(photograph())]
    ),
    "webp": lambda: encode(photograph(), "WEBP"),
    "webp_lossless": lambda: encode(photograph(), "WEBP", lossless=True),
    "tiff": lambda: encode(photograph(), "TIFF"),
    "tiff_lzw": lambda: encode(photograph(), "TIFF", compression="tiff_lzw"),
    "tiff_pages": lambda: encode(
        photograph(), "TIFF", save_all=True, append_images=[ImageOps.mirror(photograph())]
    )[:-4],  # Pillow pads with four bytes that nothing points to
    "bmp": lambda: encode(photograph(), "BMP"),
    "ppm": lambda: encode(photograph(), "PPM"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_a_whole_file_decodes_to_rgb(name):
    decoded = decode(ENCODED[name]())
    assert (decoded.shape, decoded.dtype) == ((60, 84, 3), np.uint8)
    error = np.abs(decoded.astype(float) - np.asarray(photograph())).mean()
    assert error < (80 if name == "jpeg_grey" else 20)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="no bytes"),
        pytest.param(bytes(4096), "not_an_image", id="zeros"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", "not_an_image", id="html"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported_format",
                     id="postscript is never run"),
        pytest.param(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "unsupported_format", id="jpeg xl"),
        pytest.param(b"\0\0\0\x1cftypavif" + bytes(99), "truncated", id="avif without boxes"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(99), "truncated", id="png without chunks"),
        pytest.param(b"GIF89a" + bytes(99), "truncated", id="gif without image"),
    ],
)  # fmt: skip
def test_what_is_no_image_has_a_reason(content, reason):
    assert fault_of(content) == reason


def test_too_many_pixels_are_refused_from_the_header_alone():
    assert fault_of(ENCODED["png"](), max_pixels=60 * 84 - 1) == "too_many_pixels"
    assert fault_of(ENCODED["png"](), max_pixels=60 * 84) is None


def test_a_wrong_checksum_in_the_data_of_a_png_is_found():
    content = bytearray(ENCODED["png"]())
    at = content.index(b"IDAT") + 4
    content[at + int.from_bytes(content[at - 8 : at - 4], "big")] ^= 1
    assert fault_of(bytes(content)) == "corrupt"


def test_a_marker_amid_the_data_of_a_jpeg_is_found():
    content = bytearray(ENCODED["jpeg"]())
    content[len(content) // 2 : len(content) // 2 + 2] = b"\xff\xc4"
    assert fault_of(bytes(content)) in {"corrupt", "truncated"}


@settings(max_examples=60)
@given(data=st.data())
def test_a_reduced_decode_finds_what_a_full_one_finds(data):
    content = bytearray(ENCODED[data.draw(st.sampled_from(["jpeg", "jpeg_progressive"]))]())
    at = data.draw(st.integers(620, len(content) - 3))
    content[at] ^= data.draw(st.integers(1, 255))
    changed = bytes(content)
    try:
        decode(changed, 10**6, min_side=8)
        reduced = None
    except DecodeError as error:
        reduced = error.reason
    assert reduced == fault_of(changed)


@settings(max_examples=100)
@given(data=st.data())
def test_hostile_bytes_raise_nothing_but_decode_errors(data):
    content = bytearray(ENCODED[data.draw(st.sampled_from(sorted(ENCODED)))]())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(200, len(content) - 1)))] = data.draw(
            st.integers(0, 255)
        )
    fault_of(bytes(content), max_pixels=10**6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(orientation):
    content = with_exif(orientation)
    image = Image.open(io.BytesIO(content))
    expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(decode(content), expected)
    reduced = decode(content, min_side=30)  # half
    assert reduced.shape == (expected.shape[0] // 2, expected.shape[1] // 2, 3)
    halved = resize(expected, reduced.shape[1], reduced.shape[0])
    assert np.abs(reduced.astype(float) - halved).mean() < 3
    found = read_image(content, 10**6, 30)
    assert (found.width, found.height) == expected.shape[1::-1]


def test_unreadable_exif_harms_no_image():
    content = with_exif(6)
    at = content.index(b"Exif\0\0") + 6
    broken = content[:at] + b"\xff" * 8 + content[at + 8 :]
    assert decode(broken).shape == (60, 84, 3)


def test_deep_grey_is_scaled_and_alpha_laid_over_white():
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    decoded = decode(encode(Image.fromarray(deep), "PNG"))
    assert (decoded.min(), decoded.max()) == (0, 255)
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (decode(encode(clear, "PNG")) == 255).all()


@pytest.mark.parametrize("min_side", [1, 16, 30, 60, 200])
def test_a_network_gets_at_least_the_side_it_asks_for(min_side):
    assert min(decode(ENCODED["jpeg"](), min_side=min_side).shape[:2]) >= min(min_side, 60)
    assert decode(ENCODED["jpeg_cmyk"](), min_side=min_side).shape == (60, 84, 3)


@pytest.mark.skipif(not ODD.exists(), reason="the odd files are not here")
def test_odd_files_that_are_correct_decode_and_the_broken_ones_have_their_reason():
    found = {path.name: fault_of(path.read_bytes()) for path in sorted(ODD.iterdir())}
    broken = {name for name, fault in found.items() if fault in {"truncated", "corrupt"}}
    assert broken == {
        "image-rs__Bad_unusual_extend_buffer_usage.bmp", "image-rs__pal4rlecut.bmp",
        "image-rs__badrle.bmp",
        "image-rs__clusterfuzz-testcase-minimized-fuzzer_script_tiff-5026894169374720.tif",
        "libvips__truncated.gif", "libvips__truncated.jpg",
    }  # fmt: skip
    decodable = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".ppm", ".pgm"}
    assert [
        name for name, fault in found.items() if fault and Path(name).suffix in decodable - {".gif"}
    ] == [
        "libjpeg-turbo__monkey12.jpg",  # 12 bits
        "libjpeg-turbo__testimgari.jpg",  # arithmetic coding
        "libvips__truncated.jpg",
    ]
