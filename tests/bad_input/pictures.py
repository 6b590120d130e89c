"""Bad image files, and good ones that look bad: each is a row, kept or with its reason."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.bad_input.archives import zipped
from tests.bad_input.cases import PHOTOS, Rows


def _noise(width, height, channels=3):
    chance = np.random.default_rng(width * height)
    shape = (height, width, channels) if channels > 1 else (height, width)
    return chance.integers(0, 256, shape, np.uint8)


def _encoded(kind, image=None, **settings):
    stream = io.BytesIO()
    image = Image.fromarray(_noise(80, 60)) if image is None else image
    image.save(stream, kind, **settings)
    return stream.getvalue()


def _cut(content):
    return content[: len(content) * 2 // 3]


def _damaged(content, at):
    return content[:at] + bytes(255 - byte for byte in content[at : at + 9]) + content[at + 9 :]


def _huge_png(width, height):
    """Return a whole PNG whose header promises more than anybody can hold."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    ]
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


JPEG, PNG = _encoded("JPEG", quality=90), _encoded("PNG")
FRAMES = [Image.fromarray(_noise(40 + n, 40)).resize((40, 40)) for n in range(3)]
ANIMATION = {"save_all": True, "append_images": FRAMES[1:]}
GIF = _encoded("GIF", FRAMES[0], **ANIMATION)

FILES = {  # name: content, status, reason
    "empty.jpg": (b"", "rejected", "empty"),
    "text.jpg": ("no image at all", "rejected", "not_an_image"),
    "page.jpg": ("<!doctype html><title>404</title>", "rejected", "not_an_image"),
    "zip.jpg": (zipped(("a.jpg", JPEG)), "rejected", "not_an_image"),
    "paper.pdf": (b"%PDF-1.7\n%\xe2\xe3\n" + bytes(500), "rejected", "unsupported_format"),
    "array.npy": (b"\x93NUMPY\1\0v\0" + bytes(500), "rejected", "not_an_image"),
    "two bytes.jpg": (b"\xff\xd8", "rejected", "not_an_image"),
    "zeros.jpg": (bytes(5000), "rejected", "not_an_image"),
    "film.mp4": (b"\0\0\0\x20ftypisom" + bytes(500), "rejected", "not_an_image"),
    "drawing.svg": ("<?xml version='1.0'?><svg width='9' height='9'/>", "rejected",
                    "unsupported_format"),
    "print.eps": ("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "rejected",
                  "unsupported_format"),
    "layers.psd": (b"8BPS\0\1" + bytes(500), "rejected", "unsupported_format"),
    "icon.ico": (b"\0\0\1\0\1\0" + bytes(500), "rejected", "unsupported_format"),
    "bright.exr": (b"\x76\x2f\x31\x01\2\0\0\0" + bytes(500), "rejected", "unsupported_format"),
    "new.jxl": (b"\xff\x0a" + bytes(500), "rejected", "unsupported_format"),
    "cut.jpg": (_cut(JPEG), "rejected", "truncated"),
    "cut.png": (_cut(PNG), "rejected", "truncated"),
    "cut.gif": (GIF[: len(GIF) // 4], "rejected", "truncated"),  # in its first frame
    "cut.bmp": (_cut(_encoded("BMP")), "rejected", "truncated"),
    "cut.tif": (_cut(_encoded("TIFF")), "rejected", "truncated"),
    "cut.webp": (_cut(_encoded("WEBP")), "rejected", "truncated"),
    "cut.ppm": (_cut(_encoded("PPM")), "rejected", "truncated"),
    "cut.avif": (_cut(_encoded("AVIF")), "rejected", "truncated"),
    "cut.jp2": (_cut(_encoded("JPEG2000")), "rejected", "truncated"),
    "end missing.jpg": (JPEG[:-2], "rejected", "truncated"),
    "end missing.png": (PNG[:-12], "kept", None),  # all of the picture is there
    "bits flipped.png": (_damaged(PNG, len(PNG) // 2), "rejected", "corrupt"),
    "header alone.bmp": (_encoded("BMP")[:54], "rejected", "truncated"),
    "bomb.png": (_huge_png(65_000, 65_000), "rejected", "too_many_pixels"),
    "no width.png": (_huge_png(0, 10), "rejected", "corrupt"),
    "dot.png": (_encoded("PNG", Image.new("RGB", (1, 1))), "rejected", "too_small"),
    "line.png": (_encoded("PNG", Image.new("RGB", (100_000, 1))), "rejected", "too_small"),
    "banner.png": (_encoded("PNG", Image.fromarray(_noise(800, 40))), "rejected",
                   "too_elongated"),
    "png.jpg": (PNG, "kept", None),
    "no extension": (_encoded("JPEG", quality=80), "kept", None),
    "for print.jpg": (_encoded("JPEG", Image.fromarray(_noise(64, 64, 4), "CMYK")), "kept", None),
    "deep.png": (_encoded("PNG", Image.fromarray(_noise(64, 64, 1).astype(np.uint16) * 257)),
                 "kept", None),
    "moving.gif": (GIF, "kept", None),
    "moving.webp": (_encoded("WEBP", FRAMES[0], **ANIMATION), "kept", None),
    "glass.png": (_encoded("PNG", Image.fromarray(_noise(64, 64, 4))), "kept", None),
    "rubbish behind.jpg": (JPEG + b"rubbish" * 9, "kept", None),
    "hostile exif.jpg": (_encoded("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(40)),
                         "kept", None),
}  # fmt: skip

ROWS = (
    Rows(
        "pictures",
        PHOTOS,
        {f"photos/{name}": content for name, (content, _, _) in FILES.items()},
        {name: (status, reason) for name, (_, status, reason) in FILES.items()},
        stages="scan download clean",
        changes={"clean__max_failed_fraction": 1.0},
    ),
)
