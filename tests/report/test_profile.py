import cv2
import numpy as np
import pytest

from tests.report.data_set import DataSet, build, full, picture, section, shared, text_of


def test_the_kept_images_are_profiled():
    made = shared(full)
    text = text_of(section(made.page, "profile"))
    assert "The 20 images kept" in text
    assert "median width and height 100 × 80 px" in text
    assert "JPEG RGB 20" in text
    assert "From every image; previews are measured" in text
    assert "lowest third mean scores of 2 to 4.1; 7 images" in text
    assert "highest third mean scores of 6.55 to 8.65; 7 images" in text
    assert made.plots["sizes"].to_dict("records") == [{"width": 100, "height": 80, "images": 20}]
    for name in ("ratings", "aspect_ratios", "brightness"):
        assert made.plots[name]["images"].sum() == 20
        assert made.plots[name]["share"].sum() == pytest.approx(1, abs=1e-4)
    assert made.plots["channels"][["red", "green", "blue"]].sum().round(3).tolist() == [1, 1, 1]
    assert len(made.plots["classes"]) == 0


def test_names_of_any_length_and_direction_fit(tmp_path):
    data = DataSet("classification")
    names = ["w" * 5000, "صورة", "=1+1"]
    for number in range(12):
        label = names[number % 3]
        key = data.record(f"{number}.jpg", picture(number), label)
        data.group(key, "train", label=label)
    made = build(tmp_path, data)
    html = made.page
    assert "w" * 81 not in html
    assert '<h4 dir="auto">صورة</h4>' in html
    assert set(made.plots["classes"]["label"]) == {"'=1+1", "صورة", "w" * 5000}


@pytest.mark.parametrize("side", [1, 3000])
@pytest.mark.parametrize("images", [1, 4])
def test_equal_flat_images_have_a_profile(tmp_path, side, images):
    data = DataSet("none")
    for number in range(images):
        pixels = np.full((1, side, 3), 200, np.uint8)
        png = cv2.imencode(".png", pixels)[1].tobytes() + b" " * number  # another key
        data.group(data.record(f"{number}.png", png), "train")
        data.summary[-1] |= {"width": float(side), "height": 1.0}
    made = build(tmp_path, data)
    text = text_of(section(made.page, "profile"))
    assert "nan" not in text.lower().split()
    said = "Fewer than three images" if images == 1 else "All of them look the same"
    assert said in text
    assert made.plots["aspect_ratios"]["images"].sum() == images
