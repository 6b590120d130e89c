"""What a file stores and what comes of it: known answers."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from darkroom.images.decode import decode, read_image
from tests.images.integrity.test_check import SAMPLES, encode, photograph

GREYS = np.linspace(0, 255, 40 * 30).round().astype(np.uint8).reshape(30, 40)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = (
    SRGB.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
)  # its red is sRGB's blue


def flat(colour, mode="RGB") -> Image.Image:
    return Image.new(mode, (16, 16), colour)


def of_array(array, extension) -> bytes:
    return cv2.imencode(extension, array)[1].tobytes()


def palette_with_a_clear_entry() -> bytes:
    image = flat(0, "P")
    image.putpalette([0, 0, 255, 10, 20, 30])
    image.putpixel((3, 3), 1)
    return encode(image, "PNG", transparency=0)


def big_endian_grey() -> bytes:
    """Return a TIFF of 16 bits in Motorola's order."""
    tags = ((256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (278, 1), (279, 4))
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    data = struct.pack(">HH", 0, 65535)
    directory = struct.pack(">H", len(tags)) + entries + bytes(4)
    return b"MM\0*" + struct.pack(">I", 12) + data + directory


SIXTEEN = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
FLOATS = np.array([[np.nan, -2.0, 0.0, 2.0, np.inf, -np.inf]], np.float32)

KNOWN = {
    "1 bit": (lambda: encode(Image.fromarray(GREYS > 127), "PNG"),
              lambda: np.where(GREYS > 127, 255, 0)),
    "8 bit grey": (lambda: encode(Image.fromarray(GREYS), "PNG"), lambda: GREYS),
    "16 bit grey png": (lambda: of_array(SIXTEEN, ".png"), lambda: [[0, 1, 128, 255]]),
    "16 bit grey tiff": (lambda: of_array(SIXTEEN, ".tif"), lambda: [[0, 1, 128, 255]]),
    "16 bit grey big-endian": (big_endian_grey, lambda: [[0, 255]]),
    "16 bit dark grey": (lambda: of_array(SIXTEEN // 256, ".png"), lambda: [[0, 0, 0, 1]]),
    "16 bit pgm": (lambda: b"P5 4 1 65535\n" + SIXTEEN.astype(">u2").tobytes(),
                   lambda: [[0, 1, 128, 255]]),
    "10 bit pgm": (lambda: b"P5 3 1 1023\n" + np.array([0, 511, 1023], ">u2").tobytes(),
                   lambda: [[0, 127, 255]]),
    "float with nan": (lambda: encode(Image.fromarray(FLOATS), "TIFF"),
                       lambda: [[0, 0, 128, 255, 255, 0]]),
    "float, all nan": (lambda: encode(Image.fromarray(FLOATS[:, :1].repeat(3, 1)), "TIFF"),
                       lambda: [[0, 0, 0]]),
    "32 bit": (lambda: encode(Image.fromarray(np.array([[-100, 0, 100]], np.int32)), "TIFF"),
               lambda: [[0, 128, 255]]),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_depths_become_8_bits_of_grey(name):
    make, expected = KNOWN[name]
    decoded = decode(make())
    assert decoded.dtype == np.uint8
    assert decoded[:, :, 0].tolist() == np.asarray(expected()).tolist()
    assert np.ptp(decoded, axis=2).max() == 0


def test_what_a_tiff_declares_counts_as_its_largest_value():
    def tiff(tags):
        content = encode(Image.fromarray(SIXTEEN // 1000), "TIFF", tiffinfo=tags)
        return read_image(content, None).largest_grey

    assert [tiff({}), tiff({281: 4095}), tiff({281: 9})] == [65, 4095, 65]


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_of_16_bit_colours_the_upper_8_bits_stay(extension):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    assert np.array_equal(decode(of_array(deep, extension)), deep[:, :, ::-1] >> 8)


CLEAR = {
    "rgba": lambda: encode(flat((255, 0, 0, 0), "RGBA"), "PNG"),
    "half": lambda: encode(flat((255, 0, 0, 128), "RGBA"), "PNG"),
    "grey alpha": lambda: encode(flat((0, 0), "LA"), "PNG"),
    "colour key": lambda: encode(flat((9, 8, 7)), "PNG", transparency=(9, 8, 7)),
    "grey key": lambda: encode(flat(9, "L"), "PNG", transparency=9),
    "webp": lambda: encode(flat((255, 0, 0, 0), "RGBA"), "WEBP", lossless=True, exact=True),
    "avif": lambda: encode(flat((255, 0, 0, 0), "RGBA"), "AVIF"),
    "jpeg 2000": lambda: encode(flat((255, 0, 0, 0), "RGBA"), "JPEG2000"),
    "tiff": lambda: encode(flat((255, 0, 0, 0), "RGBA"), "TIFF"),
}


@pytest.mark.parametrize("name", CLEAR)
def test_what_is_transparent_shows_white(name):
    expected = (255, 127, 127) if name == "half" else (255, 255, 255)
    assert np.abs(decode(CLEAR[name]()).astype(int) - expected).max() <= 1


def test_a_palette_with_a_clear_entry_shows_white_there():
    decoded = decode(palette_with_a_clear_entry())
    assert decoded[3, 3].tolist() == [10, 20, 30]
    assert decoded[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("kind", "mode", "tolerance"),
    [("JPEG", "CMYK", 3), ("TIFF", "CMYK", 0), ("TIFF", "YCbCr", 2), ("TIFF", "LAB", 2)],
)
def test_other_colour_spaces_come_back(kind, mode, tolerance):
    """Also Adobe's inverted CMYK, which is how Pillow writes it to JPEG."""
    image = photograph()
    if mode == "LAB":
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(image, *spaces, outputMode="LAB")
    else:
        stored = image.convert(mode)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    decoded = decode(encode(stored, kind, **options)).astype(int)
    assert np.abs(decoded - np.asarray(image)).mean() <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_an_embedded_profile_is_applied(kind):
    content = encode(photograph(), kind, icc_profile=SWAPPED)
    if kind == "JPEG2000":  # Pillow writes none
        assert "icc_profile" not in Image.open(io.BytesIO(content)).info
        return
    plain = decode(encode(photograph(), kind)).astype(int)
    assert np.abs(decode(content).astype(int) - plain[:, :, ::-1]).max() <= 3
    for side in (10, 100):
        reduced = decode(content, min_side=side).astype(int)
        expected = decode(encode(photograph(), kind), min_side=side).astype(int)
        assert np.abs(reduced - expected[:, :, ::-1]).max() <= 3
    assert np.array_equal(decode(content, 10**6, 100), decode(content))


@pytest.mark.parametrize(
    "profile",
    [b"broken", SRGB[:300], SRGB, SWAPPED[:128] + bytes(500), SWAPPED * 9000],
    ids=["no profile", "cut", "sRGB", "no tags", "too large"],
)
def test_a_profile_that_says_nothing_changes_nothing(profile):
    whole = encode(photograph(), "PNG")
    assert np.array_equal(decode(encode(photograph(), "PNG", icc_profile=profile)), decode(whole))


def test_a_profile_of_another_colour_space_is_passed_over():
    grey = encode(Image.fromarray(GREYS), "PNG", icc_profile=SWAPPED)
    assert np.array_equal(decode(grey)[:, :, 0], GREYS)
    cmyk = flat((0, 255, 255, 0), "CMYK")
    assert decode(encode(cmyk, "TIFF", icc_profile=SWAPPED))[0, 0].tolist() == [255, 0, 0]


def test_a_grey_profile_is_applied():
    """Of linear greys, the middle is 188 in sRGB."""
    linear = grey_profile(gamma=1.0)
    decoded = decode(encode(flat(128, "L"), "PNG", icc_profile=linear))
    assert decoded[0, 0].tolist() == [188, 188, 188]
    jpeg = encode(flat(128, "L"), "JPEG", icc_profile=linear)
    assert np.abs(decode(jpeg).astype(int) - 188).max() <= 1
    assert np.abs(decode(jpeg, min_side=8).astype(int) - 188).max() <= 1


def grey_profile(gamma: float) -> bytes:
    """Return an ICC profile (version 2) of grey with this gamma."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)  # D50
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78)
    tags, at, body = [], 128 + 4 + 3 * 12, b""
    for name, data in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text)):
        tags.append(name + struct.pack(">II", at + len(body), len(data)))
        body += data + bytes(-len(data) % 4)
    table = struct.pack(">I", 3) + b"".join(tags)
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def test_heif_and_its_alpha_come_as_other_formats_do():
    decoded = decode((SAMPLES / "chelsea.heic").read_bytes())
    assert (decoded.shape, decoded.dtype) == ((64, 96, 3), np.uint8)
    mirrored = decode((SAMPLES / "transparent.heic").read_bytes()).astype(int)
    assert mirrored[0].min() > 230  # clear at the top
    bottom = np.abs(mirrored[-4:] - decoded[-4:, ::-1]).mean()
    assert bottom < 20


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_pictures_of_every_format_stand_upright(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(photograph(), kind, exif=exif, **options)
    expected = np.rot90(np.asarray(photograph()), -1).astype(int)
    assert np.abs(decode(content).astype(int) - expected).mean() < 8
    found = read_image(content, 10**6)
    assert (found.width, found.height) == expected.shape[1::-1]


def test_a_heif_is_turned_by_its_own_property_once():
    content = (SAMPLES / "turned.heic").read_bytes()
    upright = decode((SAMPLES / "chelsea.heic").read_bytes()).astype(int)
    turned = decode(content).astype(int)
    assert np.abs(turned - np.rot90(upright)).mean() < 8
    assert read_image(content, 10**6)[1:3] == (64, 96)
