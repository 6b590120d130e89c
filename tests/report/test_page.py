import re

from tests.report.data_set import ROC, DataSet, build, full, picture, shared, text_of


def test_the_counts_reconcile():
    text = text_of(shared(full).page)
    assert "From 29 files, 20 distinct, usable images." in text
    assert "scan Files given 29 records" in text
    assert "Arrived 28 records − 1 timeout" in text
    assert "Distinct by content 27 images − 1 exact duplicate" in text
    assert "Whole and usable 24 images − 1 empty − 1 too small − 1 truncated" in text
    assert "Kept 20 images − 3 copy − 1 label conflict" in text
    assert "Every count adds up" in text
    assert "train 13 13 + 3" in text
    assert "validation 2 2" in text
    assert "test 5 5" in text


def with_withdrawn_files(task) -> DataSet:
    """Photographs of a folder, two of which are gone: one was deleted, one purged."""
    data = full(task)
    data.kind = "folder"
    for name, reason in (("old.jpg", "gone"), ("taken.jpg", "purged")):
        data.records.append({"name": name, "status": "withdrawn", "reason": reason})
    return data


def test_withdrawn_and_purged_files_are_counted_apart():
    text = text_of(shared(with_withdrawn_files).page)
    assert "From 29 files, 20 distinct" in text
    assert "Files ever given 31 records" in text
    assert "Files given 29 records − 1 withdrawn − 1 purged" in text
    assert "Every count adds up" in text


def test_counts_of_different_runs_are_called_out(tmp_path):
    data = full()
    data.groups.pop(0)
    data.split.pop(0)
    text = text_of(build(tmp_path, data).page)
    assert "The counts do not add up: dedupe:" in text
    assert "Every count adds up" not in text


def test_rejected_images_show_their_reason_and_only_whole_ones_a_picture():
    html = shared(full).page
    sheet = html[html.index('id="rejected"') : html.index('id="copies"')]
    pictures = {
        re.search(r"<b>(.*?)</b>", figure)[1]: "data:image/jpeg;base64," in figure
        for figure in sheet.split("<figure>")[1:]
    }
    assert pictures == {
        "timeout": False, "empty": False, "truncated": False, "too small": True,
        "label conflict": True,
    }  # fmt: skip


def test_copies_stand_after_their_representative_with_their_similarity():
    html = shared(full).page
    sheet = text_of(html[html.index('id="copies"') : html.index('id="leaks"')])
    assert "3 of 3 groups" in sheet
    assert "kept image 1.jpg cosine 0.960 copy 1.jpg" in sheet


def test_augmented_images_stand_beside_their_parent():
    html = shared(full).page
    sheet = text_of(html[html.index('id="augmented"') : html.index('id="training"')])
    assert "3 new images" in sheet
    assert "flip, shift down px 3" in sheet
    assert "original image 1.jpg" in sheet


def test_sheets_are_limited(tmp_path):
    data = full()
    for number in range(60):
        data.broken(f"bad {number}.jpg", "truncated", picture(1)[: 100 + number])
    best = data.groups[0]["key"]
    for number in range(400, 420):
        copy = data.record(f"c {number}.jpg", picture(number))
        data.group(copy, of=best, reason="copy", likeness=0.9)
    html = build(tmp_path, data).page
    sheet = html[html.index('id="rejected"') : html.index('id="copies"')]
    assert sheet.count("<figure>") == 24
    assert all(f"<b>{reason}</b>" in sheet for reason in ("timeout", "empty", "too small"))
    assert "and 16 more copies" in html
    assert len(html) < 3_000_000


def test_ratings_of_people_are_not_called_simulated():
    assert "simulated" not in text_of(shared(with_withdrawn_files).page)


def test_without_a_task_there_is_a_page_without_a_model(tmp_path):
    data = full("none")
    data.metrics = {"train": {"task": "none"}, "evaluate": {"task": "none"}}
    data.plots = {"train/history.csv": "epoch,phase,loss,val_loss\n", "evaluate/roc.csv": ROC}
    html = build(tmp_path, data).page
    text = text_of(html)
    assert "No model was trained" in text
    assert "No image has a label" in text
    assert 'id="training"' not in html


def test_an_empty_data_set_has_a_page(tmp_path):
    html = build(tmp_path, DataSet()).page
    text = text_of(html)
    assert "From 0 files" in text
    assert "Every count adds up" in text
    assert "Nothing could be measured" in text
    assert "nan" not in text.lower().split()
