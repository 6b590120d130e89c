"""What `benchmarks.fuzz` does to files: a mutation takes (bytes, another file, generator).

Those of `CUTS` only leave out the end: what is left must not be kept, unless all the picture is.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from darkroom.sources.sample.photographs import PHOTOGRAPHS, read

Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]


def cut(content, other, rng):
    return content[: int(rng.integers(1, len(content)))]


def cut_near_end(content, other, rng):
    return content[: len(content) - int(rng.integers(1, min(65, len(content))))]


def cut_in_head(content, other, rng):
    return content[: int(rng.integers(1, min(400, len(content))))]


def cut_at_power_of_two(content, other, rng):
    """Lose what a buffer or a disk block would have held."""
    powers = [2**n for n in range(4, 20) if 2**n < len(content)] or [1]
    return content[: int(rng.choice(powers)) * int(rng.integers(1, 2))]


def cut_at_marker(content, other, rng):
    """Cut between two scans, chunks or boxes: where 0xff, or a word is."""
    bytes_ = np.frombuffer(content, np.uint8)
    letters = (bytes_ | 32 >= 97) & (bytes_ | 32 <= 122)
    words = np.flatnonzero(letters[:-3] & letters[1:-2] & letters[2:-1] & letters[3:])
    places = np.concatenate([words, words - 4, words + 4, np.flatnonzero(bytes_ == 255)])
    places = places[(places > 0) & (places < len(content))]
    return content[: int(rng.choice(places))] if len(places) else content[:-1]


def zero_tail(content, other, rng):
    """Keep the size of a file whose download broke off, as some programs reserve it."""
    at = int(rng.integers(1, len(content)))
    return content[:at] + bytes(len(content) - at)


def cut_and_close(content, other, rng):
    """Put the end marker where the file was cut, as some tools do to rescue it."""
    start = cut(content, other, rng)
    if content[:2] == b"\xff\xd8" or content[:4] == b"\xff\x4f\xff\x51":
        return start + b"\xff\xd9"
    if content[:4] == b"\x89PNG":
        return start + b"\0\0\0\0IEND\xaeB`\x82"
    if content[:4] == b"RIFF":
        return start[:4] + (len(start) - 8 & 0xFFFFFFFF).to_bytes(4, "little") + start[8:]
    return start + (b"\0;" if content[:3] == b"GIF" else b"\n")


def flip_bits(content, other, rng):
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 17))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flip_bits_in_head(content, other, rng):
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(min(200, len(changed))))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def extreme_number(content, other, rng):
    """Set a length, size or offset to 0, all ones, or the largest positive number."""
    changed = bytearray(content)
    width = int(rng.choice([2, 4, 8]))
    at = int(rng.integers(max(1, min(600, len(changed)) - width)))
    value = [b"\0" * width, b"\xff" * width, b"\x7f" + b"\xff" * (width - 1)][int(rng.integers(3))]
    changed[at : at + width] = value
    return bytes(changed)


def zero_block(content, other, rng):
    start, end = _range(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def noise_block(content, other, rng):
    start, end = _range(content, rng)
    return content[:start] + rng.bytes(end - start) + content[end:]


def delete_block(content, other, rng):
    start, end = _range(content, rng)
    return content[:start] + content[end:]


def repeat_block(content, other, rng):
    start, end = _range(content, rng)
    return content[:end] + content[start:end] * int(rng.integers(1, 5)) + content[end:]


def swap_blocks(content, other, rng):
    """Exchange two neighbouring parts, as chunks or fragments in the wrong order."""
    start, end = _range(content, rng)
    middle = (start + end) // 2
    return content[:start] + content[middle:end] + content[start:middle] + content[end:]


def insert_bytes(content, other, rng):
    at = int(rng.integers(len(content)))
    return content[:at] + rng.bytes(int(rng.integers(1, 200))) + content[at:]


def append_bytes(content, other, rng):
    tail = rng.bytes(int(rng.integers(1, 5000)))
    return content + (tail if rng.random() < 0.5 else bytes(len(tail)))


def splice_header(content, other, rng):
    """Put the head of another file before the tail of this one."""
    head = int(rng.integers(4, 200))
    return other[:head] + content[head:]


def splice_tail(content, other, rng):
    at = int(rng.integers(1, len(content)))
    return content[:at] + other[int(rng.integers(len(other))) :]


def _range(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(2 ** rng.uniform(1, 12)))


CUTS: tuple[Mutation, ...] = (
    cut, cut_near_end, cut_in_head, cut_at_power_of_two, cut_at_marker,
)  # fmt: skip
OTHERS: tuple[Mutation, ...] = (
    zero_tail, cut_and_close,
    flip_bits, flip_bits_in_head, extreme_number, zero_block, noise_block, delete_block,
    repeat_block, swap_blocks, insert_bytes, append_bytes, splice_header, splice_tail,
)  # fmt: skip


def _encode(image: Image.Image, kind: str, later: list[Image.Image] | None = None, **options):
    """Return the bytes of a file; `later` are the frames or pages after the first."""
    if later:  # copies, since saving leaves settings of one format behind in an image
        options |= {"save_all": True, "append_images": [frame.copy() for frame in later]}
    stream = io.BytesIO()
    image.copy().save(stream, kind, **options)
    return stream.getvalue()


def encodings() -> dict[str, bytes]:
    """Return a photograph in every format that Pillow writes, name → bytes."""
    pixels = read(next(p for p in PHOTOGRAPHS if p.name == "chelsea"))
    rgb = Image.fromarray(pixels).resize((150, 100), Image.Resampling.LANCZOS)
    later = [ImageOps.mirror(rgb), ImageOps.flip(rgb)]
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    grey, deep = rgb.convert("L"), Image.fromarray(np.asarray(rgb.convert("L"), np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "baseline.jpg": _encode(rgb, "JPEG", quality=85, exif=exif),
        "progressive.jpg": _encode(rgb, "JPEG", quality=85, progressive=True),
        "restarts.jpg": _encode(rgb, "JPEG", restart_marker_rows=1),
        "grey.jpg": _encode(grey, "JPEG"),
        "cmyk.jpg": _encode(rgb.convert("CMYK"), "JPEG"),
        "burst.jpg": _encode(rgb, "MPO", later=later),
        "rgb.png": _encode(rgb, "PNG"),
        "alpha.png": _encode(alpha, "PNG"),
        "palette.png": _encode(rgb.quantize(64), "PNG"),
        "deep.png": _encode(deep, "PNG"),
        "bit.png": _encode(rgb.convert("1"), "PNG"),
        "animated.png": _encode(rgb, "PNG", later=later),
        "still.gif": _encode(rgb, "GIF"),
        "animated.gif": _encode(rgb, "GIF", later=later),
        "rgb.bmp": _encode(rgb, "BMP"),
        "palette.bmp": _encode(rgb.quantize(256), "BMP"),
        "raw.tif": _encode(rgb, "TIFF"),
        "lzw.tif": _encode(rgb, "TIFF", compression="tiff_lzw"),
        "deflate.tif": _encode(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": _encode(rgb, "TIFF", compression="jpeg"),
        "fax.tif": _encode(rgb.convert("1"), "TIFF", compression="group4"),
        "big.tif": _encode(rgb, "TIFF", big_tiff=True),
        "float.tif": _encode(grey.convert("F"), "TIFF"),
        "pages.tif": _encode(rgb, "TIFF", later=later),
        "lossy.webp": _encode(rgb, "WEBP"),
        "lossless.webp": _encode(rgb, "WEBP", lossless=True),
        "alpha.webp": _encode(alpha, "WEBP"),
        "animated.webp": _encode(rgb, "WEBP", later=later),
        "raw.ppm": _encode(rgb, "PPM"),
        "raw.pgm": _encode(grey, "PPM"),
        "raw.pbm": _encode(rgb.convert("1"), "PPM"),
        "deep.pgm": _encode(deep, "PPM"),
        "plain.ppm": _plain(np.asarray(rgb)),
        "rgb.avif": _encode(rgb, "AVIF", speed=10),
        "alpha.avif": _encode(alpha, "AVIF", speed=10),
        "animated.avif": _encode(rgb, "AVIF", speed=10, later=later),
        "lossless.jp2": _encode(rgb, "JPEG2000"),
        "tiles.jp2": _encode(rgb, "JPEG2000", tile_size=(64, 64), irreversible=True),
        "stream.j2k": _encode(rgb, "JPEG2000", no_jp2=True, quality_layers=[20, 5]),
    }


def _plain(pixels: np.ndarray) -> bytes:
    """Return a PPM in digits."""
    height, width = pixels.shape[:2]
    rows = "\n".join(" ".join(map(str, row.ravel())) for row in pixels)
    return f"P3\n{width} {height}\n255\n{rows}\n".encode()
