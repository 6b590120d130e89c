"""The formats that we decode, recognised by their first bytes, and those that we only know by name.

An allow-list: a file goes to the one plugin of Pillow that its bytes name, never to EPS or WMF,
which start other programs. MPO, several JPEGs in one file, counts as its first JPEG.
"""

import io
from functools import cache

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from darkroom.images.errors import DecodeError

EXTENSIONS = {
    "JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp",
    "PPM": "ppm", "AVIF": "avif", "HEIF": "heic", "JPEG2000": "jp2",
}  # fmt: skip

_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
}

ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = None  # limits are our own, checked before decoding
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is a worker per core already

_MAGIC = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF",
    b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000", b"\xff\x4f\xff\x51": "JPEG2000",
}  # fmt: skip

_AVIF_BRANDS = {b"avif", b"avis"}
_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_OPEN_BRANDS = {b"mif1", b"msf1"}  # the list of compatible brands says what is inside


def sniff(content: bytes) -> str | None:
    """Return the format that the first bytes tell, as a key of EXTENSIONS; None for no such one."""
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[:1] == b"P" and content[1:2] in b"123456" and content[2:3].isspace():
        return "PPM"
    return _sniff_brand(content) if content[4:8] == b"ftyp" else None


def _sniff_brand(content: bytes) -> str | None:
    """Return AVIF or HEIF by the brands of the `ftyp` box (ISO/IEC 23008-12, annex on brands)."""
    brand = content[8:12]
    if brand in _AVIF_BRANDS:
        return "AVIF"
    if brand in _HEVC_BRANDS:
        return "HEIF"
    if brand in _OPEN_BRANDS:
        end = min(int.from_bytes(content[:4], "big"), 256)
        compatible = {content[at : at + 4] for at in range(16, end, 4)}
        return "AVIF" if compatible & _AVIF_BRANDS else "HEIF"
    return None


def sniff_extension(content: bytes) -> str:
    """Return the file extension that the first bytes tell, `bin` when they tell no image format."""
    kind = sniff(content)
    return EXTENSIONS[kind] if kind else "bin"


def open_as(kind: str, content: bytes) -> Image.Image:
    """Read the header by the plugin of this format, which may raise anything on hostile bytes."""
    plugin = _heif_plugin() if kind == "HEIF" else _PLUGINS[kind]
    image = plugin(io.BytesIO(content), "")
    if kind == "JPEG2000" and image.mode in {"P", "PA"}:
        # Pillow 13 leaves out entries that are equal, so that later indices mean other colours
        raise DecodeError("unsupported_format", "JPEG 2000 with a palette")
    return image


@cache
def _heif_plugin() -> type[ImageFile.ImageFile]:
    """Load the HEIF decoder when the first such file comes; few data sets have any."""
    import pi_heif

    pi_heif.options.DECODE_THREADS = 1
    pi_heif.options.THUMBNAILS = False
    pi_heif.options.DEPTH_IMAGES = False
    pi_heif.options.AUX_IMAGES = False
    plugin: type[ImageFile.ImageFile] = pi_heif.HeifImageFile
    return plugin


def foreign_format(content: bytes) -> str | None:
    """Return the name of an image format that we know and do not decode; None for no image."""
    for offset, magic, name in _FOREIGN:
        if content[offset : offset + len(magic)] == magic:
            return name
    return "SVG" if b"<svg" in content[:1024] else None


_FOREIGN = (
    (0, b"\xff\x0a", "JPEG XL"), (0, b"\0\0\0\x0cJXL ", "JPEG XL"), (0, b"\0\0\1\0", "ICO"),
    (0, b"8BPS", "PSD"), (0, b"#?RADIANCE", "Radiance HDR"), (0, b"#?RGBE", "Radiance HDR"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"), (0, b"%!PS", "PostScript"), (0, b"%PDF", "PDF"),
    (0, b"Pf", "PFM"), (0, b"PF", "PFM"), (0, b"P7\n", "PAM"), (0, b"FUJIFILMCCD-RAW", "RAF"),
    (0, b"qoif", "QOI"), (4, b"ftypcrx ", "CR3"),
)  # fmt: skip
