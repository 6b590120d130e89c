"""Edits of a picture show the same; another number, a defect, another pose do not."""

import cv2
import numpy as np
import pytest
from skimage import data

from darkroom.dedupe.difference import blockiness, differs

SIDE = 300
IDENTITY = np.eye(2, 3)


@pytest.fixture(scope="module")
def photograph():
    return np.ascontiguousarray(data.astronaut()[:SIDE, 50 : 50 + SIDE])


def jpeg(image, quality):
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


def resized(image, width, height):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def captioned(image):
    image = image.copy()
    image[-SIDE // 5 :] = 255
    cv2.putText(image, "WHEN YOU", (8, SIDE - 20), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 3)
    return image


def stickered(image):
    image = image.copy()
    cv2.circle(image, (200, 100), SIDE // 6, (230, 40, 60), -1)
    return image


def contrasted(image):
    return np.clip(image * 1.25 - 30.0, 0, 255).astype(np.uint8)


def crossed_out(image):
    """Lay a sticker with a line across over a part."""
    image = stickered(image)
    cv2.line(image, (160, 80), (240, 120), (20, 20, 20), 8, cv2.LINE_AA)
    return image


def turned(image):
    return cv2.warpAffine(image, TURN, (SIDE, SIDE))


TURN = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 25, 1.0)
SCALED = np.array([[2.0, 0, 0.5], [0, 2.5, 0.75]])
# each edit, and the map from it to the photograph, a little wrong
EDITS = {
    "stored again": (lambda image: jpeg(image, 30), IDENTITY),
    "cropped": (lambda image: image[20:-10, 30:-40], np.array([[1.0, 0, 30], [0, 1, 20]])),
    "mirrored": (lambda image: image[:, ::-1], np.array([[-1.0, 0, SIDE - 1], [0, 1, 0]])),
    "turned": (turned, cv2.invertAffineTransform(TURN)),
    "smaller": (lambda image: resized(image, SIDE // 2, SIDE * 2 // 5), SCALED),
    "darker": (lambda image: (image * 0.6 + 10).astype(np.uint8), IDENTITY),
    "gamma": (lambda image: (255 * (image / 255) ** 1.5).astype(np.uint8), IDENTITY),
    "more contrast, clipped": (contrasted, IDENTITY),
    "blurred": (lambda image: cv2.GaussianBlur(image, (0, 0), 1.5), IDENTITY),
    "captioned": (captioned, IDENTITY),
    "stickered": (stickered, IDENTITY),
    "stickered, crossed out": (crossed_out, IDENTITY),
    "captioned, darker": (lambda image: captioned((image * 0.5).astype(np.uint8)), IDENTITY),
}
WRONG = np.array([[1.004, 0.003, 1.2], [-0.003, 0.997, -0.8]])


def off(matrix):
    return (np.vstack([WRONG, [0, 0, 1]]) @ np.vstack([matrix, [0, 0, 1]]))[:2]


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_shows_the_same(photograph, kind):
    edit, matrix = EDITS[kind]
    found = differs(photograph, np.ascontiguousarray(edit(photograph)), off(matrix))
    assert not found.differs
    assert found.laid_over == kind.startswith(("captioned", "stickered"))


def scratched(image):
    image = image.copy()
    cv2.line(image, (90, 200), (140, 215), (240, 240, 240), 2, cv2.LINE_AA)
    return image


def without_a_part(image):
    image = image.copy()
    image[120:150, 140:170] = cv2.GaussianBlur(image, (0, 0), 12)[120:150, 140:170]
    return image


def other_part(image):
    image = image.copy()
    image[100:200, 90:180] = image[190:290, 20:110]
    return image


def scratched_and_captioned(image):
    return captioned(scratched(image))


def from_elsewhere(image):
    """Move what is in the middle further than the rest, as another place of the camera does."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    shift = 3 * np.exp(-((x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2) / 60**2)
    return cv2.remap(image, x + shift, y, cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "change", [scratched, without_a_part, other_part, scratched_and_captioned, from_elsewhere]
)
@pytest.mark.parametrize("quality", [60, 95])
def test_what_differs_in_one_place_shows_another_thing(photograph, change, quality):
    other = jpeg(np.clip(change(photograph) * 0.9 + 8, 0, 255).astype(np.uint8), quality)
    assert differs(photograph, other, off(IDENTITY)).differs


def sign(text, seed=0):
    image = np.full((128, 128, 3), (120, 150, 180), np.uint8)
    cv2.circle(image, (64, 64), 58, (200, 20, 30), -1, cv2.LINE_AA)
    cv2.circle(image, (64, 64), 46, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.putText(image, text, (30, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.7, (0, 0, 0), 5, cv2.LINE_AA)
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return jpeg(np.clip(image + noise, 0, 255).astype(np.uint8), 90)


def test_signs_of_other_numbers_differ_and_shots_of_one_do_not():
    assert differs(sign("30"), sign("50"), IDENTITY).differs
    assert differs(sign("80"), sign("60"), IDENTITY).differs
    assert not differs(sign("30"), sign("30", 1), IDENTITY).differs


@pytest.mark.parametrize("change", [captioned, scratched, lambda image: resized(image, 200, 180)])
def test_the_order_of_the_two_does_not_matter(photograph, change):
    other = np.ascontiguousarray(change(photograph))
    scale = SIDE / np.array(other.shape[1::-1])
    matrix = np.array([[scale[0], 0, (scale[0] - 1) / 2], [0, scale[1], (scale[1] - 1) / 2]])
    back = cv2.invertAffineTransform(matrix)
    one, two = differs(photograph, other, matrix), differs(other, photograph, back)
    assert one.differs == two.differs
    assert one.mass == pytest.approx(two.mass, rel=1e-3, abs=0.1)


def test_what_hardly_overlaps_is_no_copy(photograph):
    far = np.array([[1.0, 0, SIDE - 4], [0, 1, SIDE - 4]])
    assert differs(photograph, photograph.copy(), far).differs


def test_noise_that_no_compression_explains_is_of_another_picture(photograph):
    """As neighbouring slices of one scan: alike everywhere, and the same nowhere."""
    small = cv2.resize(photograph, (160, 160), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 40, (160, 160)), (0, 0), 1.5)
    other = np.clip(small + coarse[:, :, None], 0, 255).astype(np.uint8)
    assert differs(small, other, IDENTITY).differs
    compressed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    found = differs(small, cv2.imdecode(compressed, cv2.IMREAD_COLOR), IDENTITY)
    assert not found.differs
    assert blockiness(small) < 1.1
    assert blockiness(cv2.imdecode(compressed, cv2.IMREAD_COLOR)) > 1.5
    assert blockiness(small[:3, :3]) == 1.0


def test_plain_pictures_are_the_same():
    plain = np.full((64, 64, 3), 200, np.uint8)
    assert not differs(plain, plain, IDENTITY).differs
