"""Edits of a picture verify; what only looks alike (pages, screens, gradients) does not."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.metrics import structural_similarity

from darkroom.dedupe.decide import decide
from darkroom.dedupe.verify import NOTHING, Picture, Question, compare_all, local_ssim
from darkroom.embedding.embed import load_network
from darkroom.embedding.network import BUNDLED

THRESHOLD = 0.5
NEAR, FAR = 0.6, 0.35  # normalised similarities to either side of it
SIDE = 256


def _jpeg(image, quality):
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


def _smaller(image):
    half = (image.shape[1] * 3 // 5, image.shape[0] * 3 // 5)
    return cv2.resize(image, half, interpolation=cv2.INTER_AREA)


def _rotated(image, degrees):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(image, matrix, (width, height))


def _stickered(image):
    image = image.copy()
    image[20:90, 30:120] = (250, 220, 30)
    return image


def _captioned(image):
    image = image.copy()
    image[-image.shape[0] // 5 :] = 255
    cv2.putText(image, "WHEN YOU", (4, 240), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    return image


EDITS = {
    "itself": lambda image: image,
    "crop": lambda image: image[20:-30, 25:-20],
    "half": lambda image: image[:, 60:190],
    "flip horizontal": lambda image: image[:, ::-1],
    "flip vertical": lambda image: image[::-1],
    "right angle": lambda image: np.rot90(image),
    "rotation": lambda image: _rotated(image, 25),
    "smaller": _smaller,
    "stretched": lambda image: cv2.resize(image, (256, 180)),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "recoloured": lambda image: np.clip(image * [1.15, 0.95, 0.65] + 12, 0, 255).astype(np.uint8),
    "framed": lambda image: cv2.copyMakeBorder(image, 50, 40, 20, 20, cv2.BORDER_CONSTANT),
    "sticker": _stickered,
    "caption": _captioned,
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 3),
    "jpeg 10": lambda image: _jpeg(image, 10),
}


@pytest.fixture(scope="module")
def photograph():
    return cv2.resize(data.astronaut(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def picture(pixels):
    """Return a picture as embed describes it."""
    network = load_network(BUNDLED)
    pixels = np.ascontiguousarray(pixels)
    return Picture(network.embed([network.prepare(pixels)]).local[0], lambda: pixels)


def compare(a, b, normalised):
    return compare_all([Question(a, b, normalised)])[0]


def _verdict(a, b, similarity=NEAR):
    return decide(similarity, compare(picture(a), picture(b), similarity), THRESHOLD)


def _rgb(grey):
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


# --- pictures that look alike: (seed) -> pixels; another seed is another picture


def _text_page(seed):
    """Words in lines of one layout, as bars of letters' height: only the words differ."""
    rng = np.random.default_rng(seed)
    page = np.full((SIDE, 200), 255.0)
    for top in range(24, SIDE - 20, 12):
        left = 18
        while (width := int(rng.integers(8, 34))) + left < 182:
            letters = rng.random((6, width)) < 0.6
            page[top : top + 6, left : left + width][letters] = 20
            left += width + 5
    return _rgb(page)


def _sheet(seed):
    """A spreadsheet: the same grid, heading and window; other cells are filled, to other widths."""
    rng = np.random.default_rng(seed)
    image = np.full((200, SIDE, 3), 255, np.uint8)
    image[:22] = (40, 120, 70)
    cv2.putText(image, "Book - Sheet 1", (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255,) * 3, 1)
    image[22:34] = 225
    for top in range(34, 200, 14):
        image[top] = 190
        for left in range(0, SIDE, 42):
            number = str(int(10 ** rng.uniform(0, 5))) if rng.random() < 0.7 else ""
            where = (left + 3, top + 11)
            cv2.putText(image, number, where, cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1)
            image[:, left] = np.minimum(image[:, left], 190)
    return image


def _screenshot(seed):
    """A window of one program, with another photograph in it."""
    scene = (data.coffee, data.chelsea, data.rocket, data.astronaut)[seed % 4]()
    image = np.full((200, SIDE, 3), 240, np.uint8)
    image[:20] = (60, 60, 70)
    cv2.putText(image, "File  Edit  View  Help", (6, 14), 0, 0.4, (255,) * 3, 1)
    for row in range(6):
        cv2.rectangle(image, (6, 30 + 26 * row), (40, 48 + 26 * row), (90, 90, 200), -1)
    image[28:190, 50:248] = cv2.resize(scene, (198, 162), interpolation=cv2.INTER_AREA)
    return image


def _blocks(seed):
    """A pattern like a QR code: corner marks that all share, and random cells."""
    cells = (np.random.default_rng(seed).random((25, 25)) < 0.5) * 255.0
    mark = np.zeros((8, 8))
    mark[0, :7] = mark[6, :7] = mark[:7, 0] = mark[:7, 6] = 255
    mark[2:5, 2:5] = 255
    cells[:8, :8], cells[:8, -8:], cells[-8:, :8] = mark, mark[:, ::-1], mark[::-1]
    return _rgb(255 - np.kron(cells, np.ones((8, 8))))


def _product(seed):
    """A small thing of simple shape on white."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for _ in range(5):
        ends = rng.integers(80, 176, 4)
        colour = tuple(int(value) for value in rng.integers(0, 160, 3))
        cv2.line(image, tuple(ends[:2]), tuple(ends[2:]), colour, int(rng.integers(3, 16)))
    cv2.ellipse(image, (128, 200), (60, 8), 0, 0, 360, (225, 225, 225), -1)
    return image


def _gradient(seed):
    angle = seed * np.pi / 12  # beyond a quarter turn they are mirror images
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return _rgb(128 + 110 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)))


def _night(seed):
    return _rgb(np.abs(np.random.default_rng(seed).normal(0, 6, (SIDE, SIDE))))


ALIKE = {
    "text pages": _text_page,
    "spreadsheets": _sheet,
    "screenshots": _screenshot,
    "block codes": _blocks,
    "products on white": _product,
    "gradients": _gradient,
    "near-black noise": _night,
}
# A gradient has no detail and noise does not survive compression: they are never called copies
# unless their bytes are equal.
FOUND = {
    name: make for name, make in ALIKE.items() if name not in {"gradients", "near-black noise"}
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_is_a_copy(photograph, edit):
    assert _verdict(photograph, np.ascontiguousarray(edit(photograph))).duplicate


@pytest.mark.parametrize("similarity", [FAR, 0.9])
def test_another_photograph_is_not_however_near(photograph, similarity):
    other = cv2.resize(data.chelsea(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert not _verdict(photograph, other, similarity).duplicate


@pytest.mark.parametrize("similarity", [FAR, 0.9])
@pytest.mark.parametrize("make", ALIKE.values(), ids=ALIKE)
def test_pictures_of_one_layout_stay_apart(make, similarity):
    pictures = [make(seed) for seed in range(4)]
    merged = [
        (i, j)
        for i in range(4)
        for j in range(i)
        if _verdict(pictures[i], pictures[j], similarity).duplicate
    ]
    assert not merged


@pytest.mark.parametrize("edit", [_smaller, lambda i: _jpeg(i, 40)], ids=["smaller", "jpeg 40"])
@pytest.mark.parametrize("make", FOUND.values(), ids=FOUND)
def test_a_stored_again_one_is_found_nevertheless(make, edit):
    assert _verdict(make(1), edit(make(1))).duplicate


def test_the_same_person_before_another_wall_is_no_copy(photograph):
    """The face fits, what is behind it does not."""
    person = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(person, (118, 90), (52, 75), 0, 0, 360, 255, -1)
    wall = cv2.resize(data.coffee(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    elsewhere = np.where(person[:, :, None] > 0, photograph, wall)
    assert not _verdict(photograph, elsewhere).duplicate


def test_the_next_patch_of_a_texture_is_not():
    bricks = np.repeat(data.brick()[:, :, None], 3, axis=2)
    assert not _verdict(bricks[:128, :128], bricks[128:256, 128:256], 0.9).duplicate


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_prove_nothing(level):
    flat = np.full((64, 64, 3), level, np.uint8)
    noise = np.random.default_rng(0).integers(0, 3, (64, 64, 3), np.uint8)
    assert compare(picture(flat), picture(np.minimum(flat, 252) + noise), 0.9) is NOTHING


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 2)], ids=str)
def test_the_smallest_pictures_prove_nothing_and_raise_nothing(size):
    tiny = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    compare(picture(tiny), picture(tiny[::-1]), 0.9)


def test_error_and_ssim_are_none_of_a_copy_and_full_of_itself(photograph):
    evidence = compare(picture(photograph), picture(photograph), FAR)
    assert evidence[:7] == (0, 1.0, 1.0, 1.0, 1.0, pytest.approx(1), pytest.approx(0))
    assert evidence.matrix == pytest.approx(np.eye(2, 3))


@settings(max_examples=12)
@given(
    one=st.sampled_from(sorted(EDITS)), other=st.sampled_from(sorted(EDITS)), foreign=st.booleans()
)
def test_the_order_of_the_two_changes_no_verdict(photograph, one, other, foreign):
    first = EDITS[one](photograph)
    second = EDITS[other](data.coffee() if foreign else photograph)
    assert _verdict(first, second).duplicate == _verdict(second, first).duplicate == (not foreign)


def test_the_map_says_where_a_crop_lies(photograph):
    evidence = compare(picture(photograph), picture(photograph[32:224, 64:256]), FAR)
    assert evidence.matrix == pytest.approx(np.array([[0.75, 0, 4], [0, 0.75, 2]]), abs=0.05)


def test_a_pair_among_others_has_the_evidence_that_it_has_alone(photograph):
    edits = [picture(edit(photograph)) for edit in EDITS.values()]
    others = [picture(make(seed)) for make in ALIKE.values() for seed in range(2)]
    everyone = edits + others
    pairs = [(i, j) for i in range(0, len(everyone), 3) for j in range(i + 1, len(everyone), 2)]
    questions = [Question(everyone[i], everyone[j], (FAR, NEAR)[(i + j) % 2]) for i, j in pairs] + [
        Question(everyone[0], everyone[0], NEAR)
    ]
    together = compare_all(questions)
    assert sum(evidence.agreement > 0 for evidence in together) > len(edits)
    np.testing.assert_array_equal(together, [compare(*question) for question in questions])
    assert compare_all([]) == []


def test_local_ssim_is_that_of_scikit_image():
    one, other = np.random.default_rng(0).random((2, 60, 50), np.float32)
    other = (one + other) / 2
    _, full = structural_similarity(one, other, win_size=9, data_range=1.0, full=True)
    inner = np.s_[5:-5, 5:-5]
    assert local_ssim(one, other)[inner] == pytest.approx(full[inner], abs=1e-4)


@pytest.mark.parametrize("turn", range(8))
@pytest.mark.parametrize(
    "make", [_text_page, _product, _screenshot], ids=lambda make: make.__name__
)
def test_turning_one_of_them_changes_no_verdict(make, turn):
    def turned(image):
        return np.ascontiguousarray(np.rot90(image[:, ::-1] if turn >= 4 else image, turn % 4))

    assert _verdict(make(1), turned(_smaller(make(1)))).duplicate
    assert not _verdict(make(1), turned(make(2))).duplicate
