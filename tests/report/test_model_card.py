import re

import pytest

from tests.report.data_set import build, evaluated, full, shared


def rows_of(text):
    """Return the table rows of a card by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_the_card_says_what_the_model_is_and_learnt_from(tmp_path):
    data = full()
    data.metrics["train"] |= {
        "parameters": 52218,
        "images": {"train": 13, "augmented": 3, "left_out": 2},
    }
    text = build(tmp_path, data).card
    rows = rows_of(text)
    assert rows["network"] == ["MobileNetV2, width 0.35"]
    assert rows["weights before training"] == ["best.keras"]
    assert rows["input"][0].startswith("RGB, 0 to 255, 64 × 64 px: the short side resized")
    assert rows["filters before it"] == ["median"]
    assert rows["parameters of the network"] == ["52,218"]
    assert rows["digest of the training data"] == ["sha256 " + "0f" * 32]
    assert rows["licence"][0].startswith("unknown")
    assert rows["epochs.head"] == ["2"]
    assert rows["sample"] == ["sample", "29", "1", "0", "21"]
    assert rows["dedupe"] == ["Kept", "20 images", "3 copy, 1 label conflict"]
    assert rows["train"] == ["13", "13", "13", "3"]
    assert "The model learnt from 13 images and 3 made of them" in text
    assert "2 more were left out by `train.max_per_class`" in text
    assert "simulated by a panel that does not exist" in text
    assert "darkroom predict" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("settings", "method", "network", "weights"),
    [
        ({"backbone": "bundled", "alpha": None, "weights": None}, "svm", "bundled",
         "those of the copy-detection network that comes with Darkroom"),
        ({"backbone": "MobileNetV2", "alpha": 0.35, "weights": "imagenet"}, "autoencoder",
         "autoencoder", "none: trained from nothing"),
        ({"backbone": "small", "alpha": None, "weights": None}, None, "small",
         "none: trained from nothing"),
    ],
)  # fmt: skip
def test_the_card_says_where_the_weights_came_from(tmp_path, settings, method, network, weights):
    data = full("one_class" if method else "rating")
    data.model["parameters"] |= settings
    data.model["outlier_method"] = method
    rows = rows_of(build(tmp_path, data).card)
    assert rows["network"] == [network]
    assert rows["weights before training"] == rows["weights"] == [weights]


def test_the_card_gives_results_with_intervals_methods_and_limits(tmp_path):
    data = evaluated("rating")
    data.metrics["evaluate"] |= {"groups": 5, "rmse": {"value": 1.0, "method": ""}}
    text = build(tmp_path, data).card
    rows = rows_of(text)
    auc = "AUC: chance that a positive image scores above a negative one"
    assert rows[auc] == ["0.912", "0.810 to 0.970", "DeLong"]
    assert rows["7 to 10"] == ["30", "2.000 (1.500 to 2.500)", "−1.500 (−2.000 to −1.000)"]
    assert "predicted 3.000, observed 3.500, on 9 images" in text
    limits = text[text.index("## Caveats") :]
    assert "- The test images come from 5 groups." in limits
    assert "- Without an interval: RMSE." in limits
    assert "- Not defined on this test split: rank correlation." in limits
    assert "the true mean is 7 to 10: RMSE 2.000, bias −1.500, on 30 images" in limits
    assert "- Fewer than 20 test images with a true mean of 1 to 4.5 (3)." in limits
    assert "PPV and NPV hold where 40.0 % of the images are positive" in limits
    assert "no whole image of JPEG, PNG" in limits
    assert "too small (a side below" in limits


def test_the_card_names_the_class_found_worst():
    text = shared(evaluated, "classification").card
    assert "The class found worst is dog: F1 0.400, sensitivity 0.500, on 4 images." in text
    assert "Fewer than 20 test images of class dog (4)." in text


def test_without_a_model_the_card_is_about_the_data():
    text = shared(evaluated, "none").card
    assert "No model was trained" in text
    assert "## Data" in text
    assert "## Metrics" not in text
    assert rows_of(text)["train"] == ["13", "13", "0", "3"]


@pytest.mark.parametrize("task", ["rating", "classification", "one_class", "none"])
def test_every_table_of_the_card_is_whole(tmp_path, task):
    data = evaluated(task)
    data.kind = "folder"
    for row in data.records:
        row["reason"] = "a|b\n\n# c" if row["status"] == "failed" else None
    text = build(tmp_path, data).card
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert blocks
    for block in blocks:
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in block} == {
            len(re.findall(r"(?<!\\)\|", block[0]))
        }
        assert re.fullmatch(r"(\| -{3}:? )+\|", block[1])
    assert "None" not in text
    assert "nan" not in text
