"""Random edited views of a photograph, as people make copies: the training signal.

Every view is uint8 RGB of shape (size, size, 3), resized without regard to aspect, as
`darkroom.embedding.network` does with whole images. The kinds of edit follow the DISC21 challenge
(Douze et al. 2021, arXiv 2106.09672) and SSCD (Pizzi et al. 2022, arXiv 2202.10261): crops, aspect,
flips, rotations, colour, blur, compression, captions, shapes, borders, photo in photo.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (height, width, 3) RGB
Generator = np.random.Generator


def mild_view(image: Image, size: int, rng: Generator) -> Image:
    """Return the photograph nearly as it is: most copies sit beside an unedited original."""
    if rng.random() < 0.5:
        image = crop(image, rng.uniform(0.8, 1.0), rng)
    if rng.random() < 0.3:
        image = image[:, ::-1]
    if rng.random() < 0.3:
        image = change_colour(image, 0.1, rng)
    return _finish(image, size, rng, worst_quality=50)


def strong_view(image: Image, other: Image, size: int, rng: Generator) -> Image:
    """Return a heavily edited view; `other` is a foreign photograph for photo in photo."""
    image = crop(image, rng.uniform(0.35, 1.0) if rng.random() < 0.8 else 1.0, rng)
    if rng.random() < 0.45:
        image = image[:, ::-1]
    if rng.random() < 0.25:
        image = image[::-1]
    if rng.random() < 0.1:
        image = np.rot90(image, int(rng.integers(1, 4)))
    if rng.random() < 0.45:
        image = rotate(image, rng.uniform(-45, 45), rng)
    if rng.random() < 0.6:
        image = change_colour(image, 0.4, rng)
    if rng.random() < 0.1:
        image = filter_colour(image, rng)
    if rng.random() < 0.2:
        image = add_border(image, rng)
    if rng.random() < 0.2:
        image = add_shapes(image, rng)
    if rng.random() < 0.2:
        image = add_caption(image, rng)
    if rng.random() < 0.06:
        image = place_in(image, other, rng)
    return _finish(image, size, rng, worst_quality=8)


def crop(image: Image, area: float, rng: Generator) -> Image:
    """Cut out a random rectangle of about `area` of the image, its aspect changed by up to 35 %."""
    height, width = image.shape[:2]
    aspect = np.exp(rng.uniform(-0.3, 0.3))
    new_height = int(np.clip(height * np.sqrt(area * aspect), 8, height))
    new_width = int(np.clip(width * np.sqrt(area / aspect), 8, width))
    top = int(rng.integers(0, height - new_height + 1))
    left = int(rng.integers(0, width - new_width + 1))
    return image[top : top + new_height, left : left + new_width]


def rotate(image: Image, degrees: float, rng: Generator) -> Image:
    """Rotate about the centre; half of the time the canvas grows so that nothing is lost."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    new_height, new_width = height, width
    if rng.random() < 0.5:
        cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
        new_width, new_height = int(height * sin + width * cos), int(height * cos + width * sin)
        matrix[:, 2] += [(new_width - width) / 2, (new_height - height) / 2]
    mode = cv2.BORDER_REFLECT if rng.random() < 0.25 else cv2.BORDER_CONSTANT
    fill = (0, 0, 0) if rng.random() < 0.6 else tuple(int(v) for v in rng.integers(0, 256, 3))
    return _uint8(
        cv2.warpAffine(
            np.ascontiguousarray(image),
            matrix,
            (new_width, new_height),
            borderMode=mode,
            borderValue=fill,
        )
    )


def change_colour(image: Image, strength: float, rng: Generator) -> Image:
    """Change brightness, contrast, saturation and channel gains by up to `strength`."""
    pixels = image.astype(np.float32)
    gains = rng.uniform(1 - strength, 1 + strength) * rng.uniform(
        1 - strength / 3, 1 + strength / 3, 3
    )
    saturation = rng.uniform(0, 1.5) if strength > 0.2 else rng.uniform(0.8, 1.2)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = (grey + saturation * (pixels - grey)) * gains.astype(np.float32)
    pixels += np.float32(rng.uniform(-strength, strength) * 80)
    return _uint8(np.clip(pixels, 0, 255))


def filter_colour(image: Image, rng: Generator) -> Image:
    """Apply a look as photo sharing sites do: grey, sepia-like tint, negative, posterised."""
    kind = rng.integers(0, 4)
    if kind == 0:
        return np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    if kind == 1:
        tint = rng.uniform(0.5, 1.2, 3)
        return _uint8(np.clip(image.mean(axis=2, keepdims=True) * tint, 0, 255))
    if kind == 2:
        return np.ascontiguousarray(image[:, :, rng.permutation(3)])
    return _uint8(image // 64 * 64 + 32)


def add_border(image: Image, rng: Generator) -> Image:
    """Add bars on some sides, as in letterboxing, memes and screenshots."""
    height, width = image.shape[:2]
    sides = (rng.random(4) < 0.6) * rng.uniform(0.03, 0.35, 4)
    top, bottom = int(sides[0] * height), int(sides[1] * height)
    left, right = int(sides[2] * width), int(sides[3] * width)
    grey = rng.random() < 0.7
    value = [0, 255, 245, 32][int(rng.integers(0, 4))]
    fill = (value,) * 3 if grey else tuple(int(v) for v in rng.integers(0, 256, 3))
    return _uint8(
        cv2.copyMakeBorder(
            np.ascontiguousarray(image), top, bottom, left, right, cv2.BORDER_CONSTANT, value=fill
        )
    )


def add_shapes(image: Image, rng: Generator) -> Image:
    """Cover one to three places with filled circles or rectangles (logos, stickers)."""
    image = np.array(image, order="C")
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        half = int(rng.uniform(0.05, 0.2) * min(height, width)) + 1
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), half, colour, -1)
        else:
            cv2.rectangle(image, (x - half, y - half), (x + half, y + half // 2), colour, -1)
    return image


def add_caption(image: Image, rng: Generator) -> Image:
    """Write one or two lines of random letters over the image."""
    image = np.array(image, order="C")
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        text = "".join(chr(int(c)) for c in rng.integers(65, 123, int(rng.integers(4, 14))))
        colour = (255, 255, 255) if rng.random() < 0.5 else tuple(map(int, rng.integers(0, 256, 3)))
        origin = (int(rng.integers(0, max(1, width // 2))), int(rng.integers(height // 6, height)))
        scale = rng.uniform(0.4, 1.4) * width / 200
        cv2.putText(
            image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1 + int(scale * 2)
        )
    return image


def place_in(image: Image, other: Image, rng: Generator) -> Image:
    """Put the image, made smaller, onto a foreign photograph."""
    canvas = np.array(other, order="C")
    height, width = canvas.shape[:2]
    scale = rng.uniform(0.6, 0.85)
    new_width, new_height = int(width * scale), int(height * scale)
    left = int(rng.integers(0, width - new_width + 1))
    top = int(rng.integers(0, height - new_height + 1))
    canvas[top : top + new_height, left : left + new_width] = cv2.resize(
        np.ascontiguousarray(image), (new_width, new_height), interpolation=cv2.INTER_AREA
    )
    return canvas


def _finish(image: Image, size: int, rng: Generator, worst_quality: int) -> Image:
    """Resize, then blur, add noise and compress some views."""
    small = int(rng.uniform(0.35, 1.0) * size) if rng.random() < 0.3 else size
    image = _resize(image, small)
    if rng.random() < 0.15:
        image = _uint8(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.8)))
    if rng.random() < 0.15:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 20)
        image = _uint8(np.clip(image + noise, 0, 255))
    if rng.random() < 0.35:
        quality = int(rng.integers(worst_quality, 95))
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = _uint8(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)))
    return image if small == size else _resize(image, size)


def _resize(image: Image, size: int) -> Image:
    # INTER_AREA only shrinks well; enlarging wants bilinear.
    shrinks = image.shape[0] >= size and image.shape[1] >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return _uint8(cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=method))


def _uint8(pixels: NDArray[np.generic]) -> Image:
    return pixels.astype(np.uint8, copy=False)
