import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.models import inputs
from darkroom.workers.cores import available_cores


def gradient(height, width):
    """An image whose red is its row and whose green is its column."""
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        pytest.param(64, 64, [(0, 0)], id="exact: itself"),
        pytest.param(68, 70, [(2, 3)], id="slightly larger: the centre, not resized"),
        pytest.param(128, 64, [(0, 0), (64, 0)], id="twice as high: two squares"),
        pytest.param(100, 64, [(0, 0), (36, 0)], id="over one and a half: both ends"),
        pytest.param(64, 250, [(0, 0), (0, 93), (0, 186)], id="long: no more than three"),
    ],
)
def test_crop_takes_whole_squares_of_untouched_pixels(height, width, corners):
    views = inputs.views(gradient(height, width), 64, "crop")
    assert [(int(v[0, 0, 0]), int(v[0, 0, 1])) for v in views] == corners
    assert all((np.diff(view[:, 0, 0].astype(int)) == 1).all() for view in views)


@pytest.mark.parametrize("rule", ["crop", "resize"])
@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_any_size_becomes_squares(rule, height, width):
    image = np.full((height, width, 3), 77, np.uint8)
    views = inputs.views(image, 32, rule)
    assert views.shape[1:] == (32, 32, 3)
    assert 1 <= len(views) <= 9
    assert (views == 77).all()
    kept = inputs.crop_for_training(image, 32, rule)
    assert min(kept.shape[:2]) >= 32
    assert inputs.random_view(kept, 32, np.random.default_rng(0)).shape == (32, 32, 3)


@pytest.mark.parametrize(("horizontal_flip", "flipped"), [(True, {False, True}), (False, {False})])
def test_an_arrow_is_mirrored_unless_told_not_to(horizontal_flip, flipped):
    arrow = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    seen = set()
    for seed in range(40):
        view = inputs.random_view(
            arrow, 32, np.random.default_rng(seed), horizontal_flip=horizontal_flip
        )
        seen.add(bool((view == arrow[:, ::-1]).all()))
        assert (view == arrow).all() or (view == arrow[:, ::-1]).all()
    assert seen == flipped


def test_resize_takes_the_centre_of_the_long_side():
    image = np.zeros((50, 150, 3), np.uint8)
    image[:, 50:100] = 200
    (view,) = inputs.views(image, 50, "resize")
    assert (view == 200).all()


def test_predictions_are_means_over_the_views_of_each_image():
    images = [np.full((n, 4, 4, 3), n, np.uint8) for n in (1, 40, 3)]
    images[2][0] = 9

    def predict_batch(batch):
        return batch[:, 0, 0, :2]

    predicted = inputs.predict_each(predict_batch, iter(images))
    np.testing.assert_allclose(predicted, [[1, 1], [40, 40], [5, 5]])


def test_cached_makes_each_once_while_it_fits():
    made = []

    def make(position):
        made.append(position)
        return np.full(10, position, np.uint8)

    cached = inputs.CachedArrays(make, 3, limit=20)
    for _ in range(2):
        assert [int(one[0]) for one in cached] == [0, 1, 2]
    assert made == [0, 1, 2, 2], "the third does not fit into 20 bytes and is made again"


def test_beyond_memory_goes_to_disk_and_leaves_nothing(tmp_path):
    made = []

    def make(position):
        made.append(position)
        return np.arange(12, dtype=np.uint8).reshape(2, 6)[:, : position + 1] + position

    cached = inputs.CachedArrays(make, 3, tmp_path / "scratch", limit=3)
    first, second = list(cached), list(cached)
    assert made == [0, 1, 2], "each is made once"
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_full_disk_costs_time_alone(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(inputs, "MIN_FREE_BYTES", 2**62)
    made = []
    cached = inputs.CachedArrays(
        lambda i: made.append(i) or np.full(4, i, np.uint8), 2, tmp_path, limit=4
    )
    assert [int(one[0]) for one in (*cached, *cached)] == [0, 1, 0, 1]
    assert made == [0, 1, 1]
    assert "disk is full" in caplog.text


def test_made_ahead_comes_in_order_and_is_bounded():
    asked = []

    def items():
        for number in range(100):
            asked.append(number)
            yield number

    results = inputs.prefetch(lambda n: n * n, items())
    assert next(results) == 0
    assert len(asked) <= 2 * available_cores() + 1
    assert list(results) == [n * n for n in range(1, 100)]
