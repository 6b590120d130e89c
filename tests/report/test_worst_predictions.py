import re

from tests.report.data_set import build, evaluated, full, section, shared


def images_by_title(made):
    """Return each title with (caption, detail, name) of its images."""
    html = section(made.page, "worst-predictions")
    found = {}
    for part in html.split("<h4")[1:]:
        captions = re.findall(r"<figcaption.*?</figcaption>", part, re.DOTALL)
        lines = [tuple(re.findall(r">([^<\n]+)</(?:b|span)>", caption)) for caption in captions]
        found[re.search(r">(.*?)</h4>", part)[1]] = lines
    return found


def test_the_worst_ratings_are_shown_on_both_sides(tmp_path):
    data = full()
    for row, error in zip(data.predictions, (0.5, -3, 2, -1, 0), strict=True):
        row["predicted_mean"] = row["target_mean"] + error
    found = images_by_title(build(tmp_path, data))
    assert found == {
        "Predicted too high": [
            ("7.95 → 9.95", "+2.00, sample", "image 17.jpg"),
            ("7.25 → 7.75", "+0.50, sample", "image 15.jpg"),
        ],
        "Predicted too low": [
            ("7.60 → 4.60", "−3.00, sample", "image 16.jpg"),
            ("8.30 → 7.30", "−1.00, sample", "image 18.jpg"),
        ],
    }


def test_the_worst_confusions_are_shown_by_kind(tmp_path):
    data = full("classification")
    for row, given in zip(data.predictions, (0.1, 0.3, 0.2, 0.9, 0.4), strict=True):
        row["probability_cat"], row["probability_dog"] = given, 1 - given
        row["predicted_label"] = "dog" if given < 0.5 else "cat"
    data.predictions[1]["target_label"] = "bird"  # the model does not know it
    found = images_by_title(build(tmp_path, data))
    assert found == {
        "cat, predicted as dog": [
            ("0.100", "sample", "image 15.jpg"), ("0.200", "sample", "image 17.jpg"),
            ("0.400", "sample", "image 19.jpg"),
        ],
        "bird, predicted as dog": [("0.000", "sample", "image 16.jpg")],
        "dog, predicted as cat": [("0.100", "sample", "image 18.jpg")],
    }  # fmt: skip


def test_the_worst_outliers_are_shown_on_both_sides():
    found = images_by_title(shared(evaluated, "one_class"))
    assert found["Outliers with the lowest scores"] == [
        ("0", "bad, sample", "image 15.jpg"), ("0.2", "bad, sample", "image 17.jpg"),
        ("0.4", "bad, sample", "image 19.jpg"),
    ]  # fmt: skip
    assert found["Normal images with the highest scores"] == [
        ("0.3", "good, sample", "image 18.jpg"), ("0.1", "good, sample", "image 16.jpg"),
    ]  # fmt: skip
