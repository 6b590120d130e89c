from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from tests.report.data_set import build, contradictory, full, shared, text_of


def leaks_section(html):
    return html[html.index('id="leaks"') : html.index('id="labels"')]


def test_leaks_are_counted_and_stand_beside_what_they_leak_into():
    html = shared(contradictory, "classification").page
    sheet = leaks_section(html)
    text = text_of(sheet)
    assert "train validation 0 train test 2 validation test 0" in text
    assert "1 of 1 images into whose split others leak" in text
    assert "kept in test cat test/a.jpg train → test dog, cosine 0.910 train/cut.jpg" in text
    assert "train → test cat, identical train/same.jpg" in text
    assert sheet.count("data:image/jpeg;base64,") == sheet.count("<figure>") == 3 + 2 + 3 + 2


def test_torn_families_and_conflicting_labels_are_shown():
    html = shared(contradictory, "classification").page
    text = text_of(leaks_section(html))
    assert "1 of 1 families" in text
    assert "train cat train/x.jpg validation cat val/y.jpg" in text
    assert "1 of 1 images that came several times, with different labels" in text
    shown = ["cat train train/cat 6.jpg", "dog train train/dog 5.jpg", "dog train train/dog 7.jpg"]
    assert " ".join(shown) in text
    assert "1 of 1 images whose copies have another label" in text
    assert "cat test, kept test/a.jpg dog train, cosine 0.910 train/cut.jpg" in text


def test_the_closest_calls_are_shown_on_both_sides():
    html = shared(contradictory, "classification").page
    text = text_of(html[html.index('id="copies"') : html.index('id="leaks"')])
    assert "1 of 1 pairs called copies: those least alike. normalised 0.660" in text
    assert "called no copies: those most alike. normalised 0.300" in text
    assert "same scene" in text


def test_splits_by_other_names_are_understood(tmp_path, values):
    data = contradictory()
    for row in data.records:
        row["official_split"] = {"test": "holdout", "validation": "dev"}.get(
            row["official_split"], row["official_split"]
        )
    values["split"]["map"] = {"holdout": "test"}
    values["train"]["task"] = "classification"
    html = build(tmp_path, data, check_params(values, Params)).page
    assert "train test 2" in text_of(leaks_section(html))


def test_without_leaks_and_conflicts_it_says_none(tmp_path):
    data = full()
    data.groups[-1]["label_conflict"] = False
    text = text_of(leaks_section(build(tmp_path, data).page))
    assert "None: no split that a source names is in use" in text
    assert "None: identical files have equal labels" in text
    assert "Families" not in text
    assert "otherwise" not in text


def test_clean_official_splits_are_said_to_be_clean(tmp_path):
    data = full()
    for row in data.records:
        row["official_split"] = "train"
    text = text_of(leaks_section(build(tmp_path, data).page))
    assert "None: no picture lies in two of the splits" in text
