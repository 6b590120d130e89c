"""Which format and quality for previews: time, bytes, and what embeddings and eyes lose.

    python -m benchmarks.previews FOLDER [--images 300] [--more FILE…]

FOLDER has photographs; line art and screens of text are drawn here. Printed for each codec: KB,
milliseconds of processor time to write and to read, the cosine between the embeddings of preview
and original (median, and the worst of a hundred), and the 99th percentile of the difference in
levels. For each file of --more, such as a 12-megapixel JPEG or HEIC: KB, and milliseconds to
measure it and to write its preview.
"""

import argparse
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageDraw

from darkroom.checks.measure import measure
from darkroom.embedding.network import Network
from darkroom.images import previews
from darkroom.images.decode import Pixels, read_image
from darkroom.images.resize import resize

MAX_PIXELS = 10**9
Codec = Callable[[Pixels], bytes]


def draw_lines(seed: int) -> bytes:
    draw, image = np.random.default_rng(seed), Image.new("RGB", (1024, 768), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(40):
        x, y, right, down = (int(value) for value in draw.integers(0, 700, 4))
        colour = tuple(int(level) for level in draw.integers(0, 256, 3))
        pen.line([x, y, right, down], colour, int(draw.integers(1, 4)))
        pen.ellipse([right, down, right + 60, down + 40], outline=colour)
    return png(image)


def draw_screen(seed: int) -> bytes:
    draw, image = np.random.default_rng(seed), Image.new("RGB", (1280, 800), (245, 245, 245))
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, 1280, 40], (40, 60, 120))
    for line in range(60):
        words = "".join(chr(int(letter)) for letter in draw.integers(97, 123, 80))
        colour = (200, 0, 0) if line % 5 == 0 else (20, 20, 20)
        pen.text((int(draw.integers(0, 700)), 50 + line * 12), words, colour)
    return png(image)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def by_opencv(form: str, *options: int) -> Codec:
    def encode(pixels: Pixels) -> bytes:
        return cv2.imencode(form, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()

    return encode


def decode(content: bytes) -> Pixels:
    if content.startswith(b"\xff\xd8"):
        return np.asarray(simplejpeg.decode_jpeg(content, "RGB"), np.uint8)
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(read, np.uint8)


CODECS: dict[str, Codec] = {
    f"JPEG {quality} {colours[0]}:{colours[1]}:{colours[2]}": (
        lambda pixels, q=quality, c=colours: simplejpeg.encode_jpeg(pixels, q, "RGB", c)
    )
    for quality in (85, 90, 95)
    for colours in ("420", "444")
} | {
    "WebP 90": by_opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 90),
    "PNG": by_opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
}


def milliseconds(function: Callable[..., object], given: Sequence[object]) -> float:
    """Return the least of three mean processor times."""
    spent = []
    for _ in range(3):
        started = time.process_time()
        for one in given:
            function(one)
        spent.append(time.process_time() - started)
    return min(spent) / len(given) * 1e3


def compare(name: str, contents: list[bytes], network: Network) -> None:
    whole = [read_image(content, MAX_PIXELS) for content in contents]
    small = []
    for content, image in zip(contents, whole, strict=True):
        scale = previews.SIDE_PX / min(image.width, image.height)
        pixels = read_image(content, MAX_PIXELS, previews.SIDE_PX).pixels
        small.append(resize(pixels, round(image.width * scale), round(image.height * scale)))
    wanted = network.embed([network.prepare(image.pixels) for image in whole]).vectors
    print(f"\n{len(contents)} {name}, {sum(map(len, contents)) / len(contents) / 1e3:.1f} KB")
    print(f"{'':14}{'KB':>8}{'write':>8}{'read':>8}{'cosine':>9}{'worst':>8}{'p99':>6}")
    for codec, encode in CODECS.items():
        written = [encode(pixels) for pixels in small]
        read = [decode(content) for content in written]
        got = network.embed([network.prepare(pixels) for pixels in read]).vectors
        cosines = (got * wanted).sum(axis=1)
        apart = [np.percentile(cv2.absdiff(a, b), 99) for a, b in zip(read, small, strict=True)]
        print(
            f"{codec:14}{sum(map(len, written)) / len(written) / 1e3:8.1f}"
            f"{milliseconds(encode, small):8.3f}{milliseconds(decode, written):8.3f}"
            f"{np.median(cosines):9.5f}{np.percentile(cosines, 1):8.4f}{np.mean(apart):6.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    cv2.setNumThreads(1)
    network = Network()
    paths = sorted(path for path in given.folder.rglob("*") if path.is_file())[: given.images]
    compare("photographs", [path.read_bytes() for path in paths], network)
    for name, draw in (("drawings", draw_lines), ("screens", draw_screen)):
        compare(name, [draw(seed) for seed in range(100)], network)
    for path in given.more:
        content = path.read_bytes()
        _, preview = measure(content, MAX_PIXELS)
        spent = milliseconds(lambda content: measure(content, MAX_PIXELS), [content] * 5)
        print(f"{path.name}: {len(content) / 1e3:.0f} KB, preview {len(preview or b'') / 1e3:.1f}"
              f" KB, {spent:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
