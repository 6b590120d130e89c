from tests.report.data_set import DataSet, build, full, picture, section, shared, text_of


def test_classes_have_counts_and_a_confusion_matrix():
    html = shared(full, "classification").page
    text = text_of(html)
    assert "Confusion matrix target ↓ predicted → cat dog cat 3 0 dog 2 0" in text
    assert "cat 6 1 3" in text
    assert "20 of 20 images kept have a label; 1 had records" in text


def test_ratings_are_summed_up_by_split(tmp_path):
    data = full()
    for number, row in enumerate(data.groups):
        row["std"] = 1 + number / 50
        row["ratings"] = [0] * 4 + [2 + number % 3] + [0] * 5
    text = text_of(section(build(tmp_path, data).page, "labels"))
    assert "train 13 4.10 1.31 2.00 6.20" in text
    assert "all 20 5.33 2.02 2.00 8.65" in text
    assert "standard deviation of an image's ratings" in text.replace("&#39;", "'")
    assert "votes per image" in text


def test_equal_numbers_of_votes_are_said_and_not_drawn(tmp_path):
    data = full()
    for row in data.groups:
        row["ratings"] = [0, 3, 0, 0, 0, 2, 0, 0, 0, 0]
    text = text_of(section(build(tmp_path, data).page, "labels"))
    assert "20 of 20 images kept have a rating, of 5 votes each" in text
    assert "votes per image" not in text


def test_many_classes_are_cut_off_and_summed(tmp_path):
    data = DataSet("classification")
    for number in range(60):
        label = "large" if number < 3 else f"class {number}"
        key = data.record(f"{number}.jpg", picture(number), label)
        data.group(key, "test" if number == 59 else "train", label=label)
    made = build(tmp_path, data)
    html = made.page
    assert "38 smaller classes 37 0 1 38 in all" in text_of(section(html, "labels"))
    assert "58 classes have fewer than 10 images" in text_of(section(html, "labels"))
    text = text_of(section(html, "profile"))
    assert "large 3 images mean" in text
    assert "class 10 1 image Fewer than three images" in text
    assert "and 50 smaller classes" in text
    assert made.plots["classes"].iloc[[0, -1]].to_numpy().tolist() == [
        ["large", 3], ["(8 others)", 8],
    ]  # fmt: skip
