import numpy as np
import pytest

from darkroom.checks.borders import border_score


def noise(height=80, width=60):
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def bordered(top=0, bottom=0, left=0, right=0, grey=255):
    image = noise()
    height, width = image.shape
    image[:top], image[height - bottom :] = grey, grey
    image[:, :left], image[:, width - right :] = grey, grey
    return image


@pytest.mark.parametrize(
    ("image", "score"),
    [
        pytest.param(noise(), 1, id="none"),
        pytest.param(bordered(top=8), 0.9, id="a bar at the top"),
        pytest.param(bordered(top=8, bottom=8, grey=0), 0.8, id="letterbox"),
        pytest.param(bordered(left=6, right=9), 0.75, id="pillarbox"),
        pytest.param(bordered(20, 20, 15, 15), 0.25, id="frame"),
        pytest.param(noise(1, 1), 0, id="one pixel"),
        pytest.param(np.full((7, 9), 30, np.uint8), 0, id="nothing but border"),
        pytest.param(np.zeros((1, 50), np.uint8), 0, id="one row"),
    ],
)
def test_known_borders(image, score):
    assert border_score(image) == pytest.approx(score)
    assert border_score(np.ascontiguousarray(image.T)) == pytest.approx(score)
    assert border_score(image[::-1, ::-1]) == pytest.approx(score)


def test_a_frame_around_a_letterbox_goes_as_well():
    image = bordered(top=20, bottom=20, grey=0)
    framed = np.pad(image, 10, constant_values=255)
    assert border_score(framed) == pytest.approx(40 * 60 / framed.size)


def test_compression_noise_in_a_border_is_forgiven_and_a_slope_is_none():
    image = bordered(top=16, grey=100)
    image[:16:2] += 4
    assert border_score(image) == pytest.approx(0.8)
    image[:16:2] += 30
    assert border_score(image) > 0.95  # of two rows, one at a time
    sky = np.repeat(np.linspace(0, 255, 80).astype(np.uint8)[:, None], 60, axis=1)
    assert 0.85 < border_score(sky) < 1
