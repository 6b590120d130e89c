import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from darkroom.core.files import write_json, write_metrics, write_text
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of, write_shard
from darkroom.core.tables import AUGMENTED, GROUPS, INDEX, PAIRS, RECORDS, SPLIT, write_table
from darkroom.images.decode import decode_at_least
from stages.report import run

LABELS = ["label", "ratings", "mean", "std", "source_group", "official_split"]
OPERATIONS = '[{"name": "flip"}, {"name": "shift", "down_px": 3}]'
ROC = "class,false_positive_rate,true_positive_rate,threshold\n"
HOSTILE = "<script>alert(1)</script>\"'&.jpg"


def picture(number: int) -> bytes:
    rng = np.random.default_rng(number)
    pixels = cv2.resize(rng.integers(0, 255, (4, 5, 3), np.uint8), (100, 80))
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def trained(task):
    return {
        "task": task,
        "classes": ["cat", "dog"] if task == "classification" else [],
        "scale": {"low": 1.0, "high": 10.0, "bins": 10} if task == "rating" else None,
        "preprocess": [{"filter": "median", "size_px": 3}],
        "input": {"size_px": 64, "rule": "resize", "channels": "RGB, 0 to 255"},
        "seed": 17,
        "parameters": {"backbone": "MobileNetV2", "alpha": 0.35, "epochs": {"head": 2},
                       "weights": "/home/someone/secret/best.keras", "augment": []},
        "training_data": "0f" * 32,
        "normal_class": "good",
        "outlier_method": "mahalanobis",
    }  # fmt: skip


class DataSet:
    """Tables, shards and metrics as the stages write them, filled image by image."""

    def __init__(self, task="rating"):
        self.task, self.names, self.contents = task, [], []
        self.records, self.summary, self.groups, self.pairs, self.split = [], [], [], [], []
        self.variants, self.predictions, self.metrics, self.plots = [], [], {}, {}
        self.leaks = {}
        self.model = {"task": task} if task == "none" else trained(task)
        self.kind = "sample"

    def fail(self, name, reason):
        self.records.append({"name": name, "status": "failed", "reason": reason})

    def record(self, name, content, label=None, mean=None, official=None, leaks_into=None):
        key = key_of(content)
        self.records.append({"name": name, "key": key, "status": "kept", "label": label,
                             "mean": mean, "official_split": official,
                             "content": content})  # fmt: skip
        if leaks_into:
            self.leaks[name] = {"status": "rejected", "reason": f"leaks_into_{leaks_into}"}
        return key

    def judge(self, key, status="kept", reason=None, fault=False, blurry=False):
        self.summary.append({"key": key, "status": status, "reason": reason, "is_blurry": blurry,
                             "is_dark": False, "width": None if fault else 100.0,
                             "height": None if fault else 80.0, "format": "JPEG", "mode": "RGB",
                             "bytes": 2000, "blurry_score": None if fault else 0.5})  # fmt: skip

    def broken(self, name, reason, content):
        self.judge(self.record(name, content), "rejected", reason, fault=True)

    def group(self, key, split=None, of=None, reason=None, likeness=None, **labels):
        status = "kept" if split else "rejected"
        self.judge(key)
        self.groups.append({"key": key, "copy_group": of or key, "family": of or key,
                            "representative": of or (key if split else None), "status": status,
                            "reason": reason, "records": 1, "label_conflict": False,
                            **labels})  # fmt: skip
        if split:
            self.split.append({"key": key, "split": split, "split_group": key, "stratum": None})
        if likeness:
            self.pairs.append({"key_a": of, "key_b": key, "similarity": likeness,
                               "normalised": likeness - 0.25, "ssim": 0.9,
                               "inliers": 30, "duplicate": True, "decided_by": "x"})  # fmt: skip

    def write(self, root: Path) -> Path:
        stored = {row["key"]: row["content"] for row in self.records if "key" in row}
        members = [(f"{key}.jpg", content) for key, content in stored.items()]
        places = dict(zip(stored, write_shard(root / "data/raw/00000.tar", members), strict=True))
        for row in self.records:
            row.pop("content", None)
            row.update(places[row["key"]]._asdict() if "key" in row else {}, source="sample")
        write_table(frame(self.records, INDEX), root / "data/raw/index.parquet", INDEX)
        columns = ["key", "status", "reason", "is_blurry", "is_dark", "width", "height", "format",
                   "mode", "bytes", "blurry_score"]  # fmt: skip
        summary = pd.DataFrame(self.summary, columns=columns)
        (root / "data/clean").mkdir(parents=True)
        summary.to_parquet(root / "data/clean/summary.parquet")
        write_table(frame(self.groups, GROUPS), root / "data/dedupe/groups.parquet", GROUPS)
        write_table(frame(self.pairs, PAIRS), root / "data/dedupe/pairs.parquet", PAIRS, ["key_a"])
        fates = {row["key"]: row for row in [*self.summary, *self.groups]}
        fate = ("status", "reason", "representative")
        ends = [{**row, **{k: fates[row["key"]].get(k) for k in fate}, **self.leaks.get(name, {})}
                if "key" in row else row
                for row in self.records for name in [row["name"]]]  # fmt: skip
        records = frame(ends, RECORDS)
        write_table(records, root / "data/dedupe/records.parquet", RECORDS, ["source", "name"])
        write_table(frame(self.split, SPLIT), root / "data/split.parquet", SPLIT)
        self._write_augmented(root)
        predictions = pd.DataFrame(self.predictions or {"key": [], "split": []})
        predictions.to_parquet(root / "data/predictions.parquet")
        write_json(root / "data/sources.json", {"sample": {"kind": self.kind, "digest": "0"}})
        write_json(root / "data/model/model.json", self.model)
        for stage, values in self.metrics.items():
            write_metrics(root / f"metrics/{stage}.json", values)
        for name, text in self.plots.items():
            write_text(root / "metrics/plots" / name, text)
        return root

    def _write_augmented(self, root):
        members = [(f"{row['key']}.jpg", row.pop("content")) for row in self.variants]
        places = write_shard(root / "data/augmented/00000.tar", members)
        rows = [
            {**row, **place._asdict()} for row, place in zip(self.variants, places, strict=True)
        ]
        write_table(frame(rows, AUGMENTED), root / "data/augmented/index.parquet", AUGMENTED)


def frame(rows, schema):
    return pd.DataFrame(rows, columns=schema.names, dtype=object)


def full(task="rating") -> DataSet:
    """A data set in which everything that a report shows happens."""
    data = DataSet(task)
    data.fail("gone.jpg", "timeout")
    data.broken("empty.jpg", "empty", b"")
    data.broken("half.jpg", "truncated", picture(1)[:900])
    small = data.record("small.jpg", picture(2))
    data.judge(small, "rejected", "too_small")
    for number in range(20):
        mean = 2 + number * 0.35
        labels = {"label": "cat" if number % 2 else "dog"} if task == "classification" else {}
        labels |= {"mean": mean} if task == "rating" else {}
        key = data.record(f"image {number}.jpg", picture(10 + number), **labels)
        split = "test" if number > 14 else "validation" if number > 12 else "train"
        data.group(key, split, **labels)
        if number < 3:
            copy = data.record(f"copy {number}.jpg", picture(100 + number), **labels)
            data.group(copy, of=key, reason="copy", likeness=0.97 - number / 100, **labels)
            new = picture(200 + number)
            data.variants.append({"key": key_of(new), "parent": key, "variant": number,
                                  "operations": OPERATIONS, "content": new})  # fmt: skip
        if split == "test" and task == "rating":
            data.predictions.append(
                {
                    "key": key,
                    "split": "test",
                    "split_group": key,
                    "target_mean": mean,
                    "predicted_mean": mean + 0.2,
                }
            )
        if split == "test" and task == "classification":
            data.predictions.append({"key": key, "split": "test", "split_group": key,
                                     "target_label": labels["label"],
                                     "predicted_label": "cat"})  # fmt: skip
    data.record("image again.jpg", picture(10), **({"mean": 2.0} if task == "rating" else {}))
    disputed = data.record("disputed.jpg", picture(300))
    data.group(disputed, reason="label_conflict")
    data.groups[-1]["label_conflict"] = True
    data.plots["train/history.csv"] = "epoch,phase,loss,val_loss\n1,fit,0.4,0.5\n2,fit,0.3,0.4\n"
    data.plots["evaluate/roc.csv"] = "false_positive_rate,true_positive_rate\n0,0\n0.2,0.8\n1,1\n"
    pairs = "".join(f"{n},{n}.2\n" for n in range(2, 7))
    data.plots["evaluate/predictions.csv"] = f"target_mean,predicted_mean\n{pairs}"
    interval = {"low": 0.81, "high": 0.97}
    data.metrics["train"] = {"epochs": 2, "best": {"val_loss": 0.4}}
    data.metrics["evaluate"] = {
        "n": 5,
        "groups": 5,
        "interval_reliable": False,
        "note": "interval unreliable: 5 groups",
        "auc": {"value": 0.912, "ci95": interval, "method": "DeLong"},
        "srcc": {"value": None, "ci95": {"low": None, "high": None}},
    }
    return data


def figure(value, low=None, high=None, method="Wilson", **more):
    return {"value": value, "ci95": {"low": low, "high": high}, "method": method, **more}


def operating_point(threshold, sensitivity, specificity, **more):
    shares = {"sensitivity": sensitivity, "specificity": specificity, "ppv": 0.9, "npv": 0.5}
    figures = {name: figure(share, share - 0.1, share + 0.1) for name, share in shares.items()}
    return {"chosen_by": "a rule", "threshold": threshold, **figures, **more}


def prevalence_csv(**points):
    """Each point's PPV at three prevalences; NPV is 0.5 everywhere."""
    head = "point,prevalence,ppv,ppv_low,ppv_high,npv,npv_low,npv_high\n"
    rows = [f"{name},{at},{ppv},0.1,0.9,0.5,0.4,0.6\n"
            for name, ppv in points.items() for at in (0.001, 0.5, 0.999)]  # fmt: skip
    return head + "".join(rows)


def judged(task) -> DataSet:
    """A data set on which everything was measured that a task has."""
    data = full(task)
    data.plots["evaluate/roc.csv"] = (
        "class,false_positive_rate,true_positive_rate,threshold,low,high\n"
        "p,0,0,,0,0.1\np,0.2,0.8,0.5,0.7,0.9\np,1,1,0.1,0.9,1\n"
    )
    points = {
        "youden": operating_point(0.4, 0.8, 0.8),
        "closest_to_corner": operating_point(0.4, 0.8, 0.8),
        "specificity_99%2E5": operating_point(
            0.7, 0.3, 0.95, at_prevalence={"prevalence": 0.01, "ppv": figure(0.05, 0.01, 0.2),
                                           "npv": figure(0.99, 0.9, 1.0)}),
    }  # fmt: skip
    tree = {"n": 5, "positives": 2, "n_validation": 2, "operating_points": points,
            "partial_auc": figure(0.7, 0.6, 0.8, below=0.1)}  # fmt: skip
    equal = {"youden": 0.5, "closest_to_corner": 0.5, "specificity_99%2E5": 0.7}
    data.plots["evaluate/prevalence.csv"] = prevalence_csv(**equal)
    calibration = "class,predicted,observed,n,low,high\n"
    if task == "rating":
        calibration += "mean score,3,3.5,9,2,4\nmean score,7,6.8,9,6,8\n"
        tree["ranges"] = {
            "7_to_10": {"n": 30, "rmse": figure(2.0, 1.5, 2.5), "bias": figure(-1.5, -2, -1)},
            "1_to_4%2E5": {"n": 3, "rmse": figure(1.0, 0.5, 1.5), "bias": figure(0.5)},
        }
    if task == "classification":
        calibration += "dog,0.2,0.3,9,0.1,0.6\ndog,0.9,0.6,9,0.3,0.8\n"
        tree["positive_class"] = "dog"
        tree["brier"] = figure(0.1, 0.05, 0.2)
        tree["calibration_error"] = figure(0.08, note="biased upwards")
        tree["classes"] = {
            "cat": {"n": 60, "auc": figure(0.9), "sensitivity": figure(0.8), "f1": figure(0.7)},
            "dog": {"n": 4, "auc": figure(0.9), "sensitivity": figure(0.5), "f1": figure(0.4)},
        }
    if task == "one_class":
        data.predictions = [
            {"key": row["key"], "split": "test", "split_group": row["key"],
             "target_label": "good" if number % 2 else "bad", "outlier_score": number / 10}
            for number, row in enumerate(row for row in data.split if row["split"] == "test")
        ]  # fmt: skip
    data.plots["evaluate/calibration.csv"] = calibration
    data.metrics["evaluate"] |= tree
    if task == "none":
        data.predictions, data.plots = [], {}
        data.metrics = {"train": {"task": "none"}, "evaluate": {"task": "none"}}
    return data


@pytest.fixture
def parameters(values):
    def make(task="rating", **evaluate):
        values["train"]["task"] = task
        if task == "one_class":
            values["train"] |= {"normal_class": "good", "backbone": "bundled", "image_size": 128}
        values["evaluate"].update(evaluate)
        return check_params(values, Params)

    return make


def page(root, parameters) -> str:
    run(root, parameters)
    return (root / "metrics/report.html").read_text()


def card(root, parameters) -> str:
    run(root, parameters)
    return (root / "metrics/model_card.md").read_text()


def text_of(html: str) -> str:
    html = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_counts_reconcile(tmp_path, parameters):
    text = text_of(page(full().write(tmp_path), parameters()))
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


def test_withdrawn_files_are_counted_apart(tmp_path, parameters):
    data = full()
    data.records.append({"name": "old.jpg", "status": "withdrawn", "reason": "gone"})
    text = text_of(page(data.write(tmp_path), parameters()))
    assert "From 29 files, 20 distinct" in text
    assert "Files ever given 30 records" in text
    assert "Files given 29 records − 1 withdrawn" in text
    assert "Every count adds up" in text


def test_counts_of_different_runs_are_called_out(tmp_path, parameters):
    data = full()
    data.groups.pop(0)
    data.split.pop(0)
    data.write(tmp_path)
    text = text_of(page(tmp_path, parameters()))
    assert "The counts do not add up: dedupe:" in text
    assert "Every count adds up" not in text


def test_rejected_images_show_their_reason_and_only_whole_ones_a_picture(tmp_path, parameters):
    html = page(full().write(tmp_path), parameters())
    sheet = html[html.index('id="rejected"') : html.index('id="copies"')]
    figures = {
        re.search(r"<b>(.*?)</b>", figure)[1]: "data:image/jpeg;base64," in figure
        for figure in sheet.split("<figure>")[1:]
    }
    assert figures == {
        "timeout": False, "empty": False, "truncated": False, "too small": True,
        "label conflict": True,
    }  # fmt: skip


def test_copies_stand_after_their_representative_with_their_similarity(tmp_path, parameters):
    html = page(full().write(tmp_path), parameters())
    sheet = text_of(html[html.index('id="copies"') : html.index('id="leaks"')])
    assert "3 of 3 groups" in sheet
    assert "kept image 1.jpg cosine 0.960 copy 1.jpg" in sheet


def contradictory() -> DataSet:
    """Files in two official splits, a family in two, and labels that contradict each other."""
    data = DataSet("classification")
    data.kind = "folder"
    test = data.record("test/a.jpg", picture(1), "cat", official="test")
    data.record("train/same.jpg", picture(1), "cat", official="train", leaks_into="test")
    data.group(test, "test", label="cat", official_split="test")
    copy = data.record("train/cut.jpg", picture(2), "dog", official="train", leaks_into="test")
    data.group(copy, of=test, reason="leaks_into_test", likeness=0.91, label="dog",
               official_split="train")  # fmt: skip
    for name, split, number in (("train/x.jpg", "train", 3), ("val/y.jpg", "validation", 4)):
        key = data.record(name, picture(number), "cat", official=split)
        data.group(key, split, label="cat", official_split=split)
        data.groups[-1]["family"] = "f"
    for label in ("dog", "cat", "dog"):
        name = f"train/{label} {len(data.records)}.jpg"
        disputed = data.record(name, picture(5), label, official="train")
    data.group(disputed, reason="label_conflict")
    data.groups[-1]["label_conflict"] = True
    data.pairs.append({**data.pairs[0], "key_a": disputed, "normalised": 0.3, "duplicate": False,
                       "decided_by": "scene"})  # fmt: skip
    return data


def leaks_section(html):
    return html[html.index('id="leaks"') : html.index('id="labels"')]


def test_leaks_are_counted_and_stand_beside_what_they_leak_into(tmp_path, parameters):
    html = page(contradictory().write(tmp_path), parameters("classification"))
    sheet = leaks_section(html)
    text = text_of(sheet)
    assert "train validation 0 train test 2 validation test 0" in text
    assert "1 of 1 images into whose split others leak" in text
    assert "kept in test cat test/a.jpg train → test dog, cosine 0.910 train/cut.jpg" in text
    assert "train → test cat, identical train/same.jpg" in text
    assert sheet.count("data:image/jpeg;base64,") == sheet.count("<figure>") == 3 + 2 + 3 + 2


def test_torn_families_and_conflicting_labels_are_shown(tmp_path, parameters):
    html = page(contradictory().write(tmp_path), parameters("classification"))
    text = text_of(leaks_section(html))
    assert "1 of 1 families" in text
    assert "train cat train/x.jpg validation cat val/y.jpg" in text
    assert "1 of 1 images that came several times, with different labels" in text
    shown = ["cat train train/cat 6.jpg", "dog train train/dog 5.jpg", "dog train train/dog 7.jpg"]
    assert " ".join(shown) in text
    assert "1 of 1 images whose copies have another label" in text
    assert "cat test, kept test/a.jpg dog train, cosine 0.910 train/cut.jpg" in text


def test_the_closest_calls_are_shown_on_both_sides(tmp_path, parameters):
    html = page(contradictory().write(tmp_path), parameters("classification"))
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
    html = page(data.write(tmp_path), check_params(values, Params))
    assert "train test 2" in text_of(leaks_section(html))


def test_without_leaks_and_conflicts_it_says_none(tmp_path, parameters):
    data = full()
    data.groups[-1]["label_conflict"] = False
    text = text_of(leaks_section(page(data.write(tmp_path), parameters())))
    assert "None: no split that a source names is in use" in text
    assert "None: identical files have equal labels" in text
    assert "Families" not in text
    assert "otherwise" not in text


def test_clean_official_splits_are_said_to_be_clean(tmp_path, parameters):
    data = full()
    for row in data.records:
        row["official_split"] = "train"
    text = text_of(leaks_section(page(data.write(tmp_path), parameters())))
    assert "None: no picture lies in two of the splits" in text


def test_purged_files_are_counted_apart(tmp_path, parameters):
    data = full()
    for name, reason in (("old.jpg", "gone"), ("taken.jpg", "purged")):
        data.records.append({"name": name, "status": "withdrawn", "reason": reason})
    text = text_of(page(data.write(tmp_path), parameters()))
    assert "Files given 29 records − 1 withdrawn − 1 purged" in text
    assert "Every count adds up" in text


def test_augmented_images_stand_beside_their_parent(tmp_path, parameters):
    html = page(full().write(tmp_path), parameters())
    sheet = text_of(html[html.index('id="augmented"') : html.index('id="training"')])
    assert "3 new images" in sheet
    assert "flip, shift down px 3" in sheet
    assert "original image 1.jpg" in sheet


def test_results_come_with_intervals_method_and_warnings(tmp_path, parameters):
    html = page(full().write(tmp_path), parameters())
    text = text_of(html[html.index('id="test"') :])
    assert (
        "AUC chance that a positive image scores above a negative one 0.912 0.810 to 0.970 DeLong"
        in text
    )
    assert "interval unreliable: 5 groups" in text
    assert "illustrative" in text
    assert "simulated panel" in text
    assert "rank correlation Spearman, predicted against target mean – –" in text
    assert "AUC 0.912 (0.810 to 0.970)" in text
    assert 'aria-label="ROC curve"' in html
    assert 'aria-label="Predicted against target"' in html
    assert 'aria-label="loss by epoch"' in html


def test_classes_have_counts_and_a_confusion_matrix(tmp_path, parameters):
    html = page(full("classification").write(tmp_path), parameters("classification"))
    text = text_of(html)
    assert "Confusion matrix target ↓ predicted → cat dog cat 3 0 dog 2 0" in text
    assert "cat 6 1 3" in text
    assert "20 of 20 images kept have a label; 1 had records" in text


def test_ratings_of_people_are_not_called_simulated(tmp_path, parameters):
    data = full()
    data.kind = "folder"
    assert "simulated" not in text_of(page(data.write(tmp_path), parameters()))


def test_without_a_task_there_is_a_page_without_a_model(tmp_path, parameters):
    data = full("none")
    data.metrics = {"train": {"task": "none"}, "evaluate": {"task": "none"}}
    data.plots = {"train/history.csv": "epoch,phase,loss,val_loss\n", "evaluate/roc.csv": ROC}
    html = page(data.write(tmp_path), parameters("none"))
    text = text_of(html)
    assert "No model was trained" in text
    assert "No image has a label" in text
    assert 'id="training"' not in html


def test_an_empty_data_set_has_a_page(tmp_path, parameters):
    html = page(DataSet().write(tmp_path), parameters())
    text = text_of(html)
    assert "From 0 files" in text
    assert "Every count adds up" in text
    assert "Nothing could be measured" in text
    assert "nan" not in text.lower().split()


def test_hostile_names_labels_and_reasons_are_escaped(tmp_path, parameters):
    data = full("classification")
    for row in [*data.records, *data.groups]:
        row["label"] = row["label"] and HOSTILE if "label" in row else None
    data.records[5]["name"] = HOSTILE
    data.records[0]["reason"] = HOSTILE
    data.variants[0]["operations"] = HOSTILE
    for row in data.predictions:
        row["target_label"] = row["predicted_label"] = HOSTILE
    data.metrics["evaluate"]["note"] = HOSTILE
    data.metrics["evaluate"]["classes"] = {HOSTILE: {"auc": {"value": 0.5}}}
    data.metrics["evaluate"][HOSTILE] = {"value": 1.0, "method": HOSTILE}
    points = {HOSTILE: operating_point(0.5, 0.6, 0.7, chosen_by=HOSTILE, note=HOSTILE)}
    data.metrics["evaluate"]["operating_points"] = points
    data.plots["evaluate/prevalence.csv"] = prevalence_csv(**{f'"{HOSTILE[:25]}"': 0.5})
    html = page(data.write(tmp_path), parameters("classification"))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'title="&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;.jpg"' in html
    text = (tmp_path / "metrics/model_card.md").read_text()
    assert not re.search(r"(?<!\\)<", text)
    assert "\\<script\\>alert(1)\\</script\\>\"'\\&.jpg" in text


@pytest.mark.parametrize("task", ["rating", "classification", "one_class", "none"])
def test_the_page_needs_nothing_from_outside(tmp_path, parameters, task):
    html = page(judged(task).write(tmp_path), parameters(task))
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert not re.search(r"url\(|@import|https?://", html)


@pytest.mark.parametrize("task", ["rating", "classification", "one_class", "none"])
def test_the_same_data_give_the_same_bytes(tmp_path, parameters, task):
    roots = [judged(task).write(tmp_path / name) for name in ("one", "two")]
    pages = [page(root, parameters(task)) for root in roots]
    assert pages[0] == pages[1]
    cards = [(root / "metrics/model_card.md").read_text() for root in roots]
    assert cards[0] == cards[1]


def test_workers_and_private_paths_are_not_on_the_page(tmp_path, values):
    values["download"]["sources"] = [{"kind": "folder", "path": "/home/someone/secret"}]
    root = full().write(tmp_path)
    one = page(root, check_params(values, Params))
    values["engine"]["workers"] = 7
    assert page(root, check_params(values, Params)) == one
    assert "secret" not in one


def test_sheets_are_limited(tmp_path, parameters):
    data = full()
    for number in range(60):
        data.broken(f"bad {number}.jpg", "truncated", picture(1)[: 100 + number])
    best = data.groups[0]["key"]
    for number in range(400, 420):
        copy = data.record(f"c {number}.jpg", picture(number))
        data.group(copy, of=best, reason="copy", likeness=0.9)
    html = page(data.write(tmp_path), parameters())
    sheet = html[html.index('id="rejected"') : html.index('id="copies"')]
    assert sheet.count("<figure>") == 24
    assert all(f"<b>{reason}</b>" in sheet for reason in ("timeout", "empty", "too small"))
    assert "and 16 more copies" in html
    assert len(html) < 3_000_000


def test_a_missing_table_names_what_to_run(tmp_path, parameters):
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        run(tmp_path, parameters())
    assert not (tmp_path / "metrics/report.html").exists()


def test_metrics_json_is_not_needed_to_be_complete(tmp_path, parameters):
    data = full()
    data.metrics, data.plots = {}, {}
    root = data.write(tmp_path)
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics/evaluate.json").write_text(json.dumps({"auc": {"value": None}}))
    assert "No curve was written" in page(root, parameters())


def test_several_classes_have_a_curve_and_figures_each(tmp_path, parameters):
    data = full("classification")
    rows = [f"{name},{x},{y},\n" for name in "abcde" for x, y in [(0, 0), (0.1, 0.7), (1, 1)]]
    data.plots["evaluate/roc.csv"] = ROC + "".join(rows)
    classes = {name: {"n": 3, "auc": {"value": 0.7}} for name in ("a", "no%2E1")}
    data.metrics["evaluate"]["classes"] = classes
    html = page(data.write(tmp_path), parameters("classification"))
    lines = 2 + 1 + 5 + 1 + 3  # training, chance, classes; square images, tones
    assert html.count("<polyline") == lines
    assert "no.1 3 0.700" in text_of(html)
    assert "bands are in" not in text_of(html)  # there are none


def test_classes_keep_names_that_look_like_numbers_or_nothing(tmp_path, parameters):
    data = full("classification")
    rows = [f"{name},{x},{x},\n" for name in ("01", "NA", "None") for x in (0, 1)]
    data.plots["evaluate/roc.csv"] = ROC + "".join(rows)
    text = text_of(section(page(data.write(tmp_path), parameters("classification")), "test"))
    assert "01 NA None Dashed: chance." in text


def test_of_several_curves_it_says_where_their_bands_are(tmp_path, parameters):
    data = judged("classification")
    rows = data.plots["evaluate/roc.csv"]
    data.plots["evaluate/roc.csv"] = rows + rows.partition("\n")[2].replace("p,", "q,")
    test = section(page(data.write(tmp_path), parameters("classification")), "test")
    assert "The curves' 95 % bands are in metrics/plots/evaluate/roc.csv" in text_of(test)
    roc = test[test.index('aria-label="ROC curve') :].split("</svg>")[0]
    assert "<polygon" not in roc


def section(html, name):
    start = html.index(f'id="{name}"')
    return html[start : html.index("</section>", start)]


def plot(root, name):
    return pd.read_csv(root / f"metrics/plots/report/{name}.csv")


def test_the_kept_images_are_profiled(tmp_path, parameters):
    root = full().write(tmp_path)
    text = text_of(section(page(root, parameters()), "profile"))
    assert "The 20 images kept" in text
    assert "median width and height 100 × 80 px" in text
    assert "JPEG RGB 20" in text
    assert "From every image, decoded" in text
    assert "lowest third mean scores of 2 to 4.1; 7 images" in text
    assert "highest third mean scores of 6.55 to 8.65; 7 images" in text
    assert plot(root, "sizes").to_dict("records") == [{"width": 100, "height": 80, "images": 20}]
    for name in ("ratings", "aspect_ratios", "brightness"):
        assert plot(root, name)["images"].sum() == 20
        assert plot(root, name)["share"].sum() == pytest.approx(1, abs=1e-4)
    assert plot(root, "channels")[["red", "green", "blue"]].sum().round(3).tolist() == [1, 1, 1]
    assert len(plot(root, "classes")) == 0


def test_ratings_are_summed_up_by_split(tmp_path, parameters):
    data = full()
    for number, row in enumerate(data.groups):
        row["std"] = 1 + number / 50
        row["ratings"] = [0] * 4 + [2 + number % 3] + [0] * 5
    text = text_of(section(page(data.write(tmp_path), parameters()), "labels"))
    assert "train 13 4.10 1.31 2.00 6.20" in text
    assert "all 20 5.33 2.02 2.00 8.65" in text
    assert "standard deviation of an image's ratings" in text.replace("&#39;", "'")
    assert "votes per image" in text


def test_equal_numbers_of_votes_are_said_and_not_drawn(tmp_path, parameters):
    data = full()
    for row in data.groups:
        row["ratings"] = [0, 3, 0, 0, 0, 2, 0, 0, 0, 0]
    text = text_of(section(page(data.write(tmp_path), parameters()), "labels"))
    assert "20 of 20 images kept have a rating, of 5 votes each" in text
    assert "votes per image" not in text


def test_many_classes_are_cut_off_and_summed(tmp_path, parameters):
    data = DataSet("classification")
    for number in range(60):
        label = "large" if number < 3 else f"class {number}"
        key = data.record(f"{number}.jpg", picture(number), label)
        data.group(key, "test" if number == 59 else "train", label=label)
    root = data.write(tmp_path)
    html = page(root, parameters("classification"))
    assert "38 smaller classes 37 0 1 38 in all" in text_of(section(html, "labels"))
    assert "58 classes have fewer than 10 images" in text_of(section(html, "labels"))
    text = text_of(section(html, "profile"))
    assert "large 3 images mean" in text
    assert "class 10 1 image Fewer than three images" in text
    assert "and 50 smaller classes" in text
    assert plot(root, "classes").iloc[[0, -1]].to_numpy().tolist() == [
        ["large", 3], ["(8 others)", 8],
    ]  # fmt: skip


def test_each_check_shows_its_ends_its_limit_and_what_is_flagged(tmp_path, parameters):
    data = full()
    for number, row in enumerate(data.summary):
        if row["width"]:
            row["blurry_score"] = number / 100
            row["is_blurry"] = number / 100 < 0.1
    data.write(tmp_path)
    summary = pd.read_parquet(tmp_path / "data/clean/summary.parquet")
    summary.assign(is_too_small=False).to_parquet(tmp_path / "data/clean/summary.parquet")
    sheet = section(page(tmp_path, parameters()), "scores")
    text = text_of(sheet)
    assert "low: few edges" in text
    assert "Limit 0.29: 5 of 22 flagged" in text  # copies are left out
    assert "lowest 0.020 flagged rejected small.jpg 0.030 flagged image 0.jpg" in text
    assert "0.260 disputed.jpg" in text
    assert sheet.count("<figure") == sheet.count("data:image/jpeg;base64,") == 10
    assert sheet.count('class="flagged"') == 5
    assert sheet.count('class="limit"') == 1


def test_what_clean_did_not_find_whole_is_never_decoded(tmp_path, parameters, monkeypatch):
    data = full()
    crashing = data.record("crash.jpg", picture(900))
    data.judge(crashing, "failed", "decoder_crashed", fault=True)
    hidden = data.record("hidden.jpg", picture(901))
    data.judge(hidden, "rejected", "review")
    refused = {picture(900), picture(901), picture(1)[:900], b""}
    seen = []
    monkeypatch.setattr("darkroom.report.pixel_sample.decode_at_least", noting(seen))
    monkeypatch.setattr("darkroom.report.image_store.decode_at_least", noting(seen))
    page(data.write(tmp_path), parameters())
    assert len(seen) > 20
    assert not refused & set(seen)


def noting(seen):
    def decode(content, min_side):
        seen.append(content)
        return decode_at_least(content, min_side)

    return decode


def test_names_of_any_length_and_direction_fit(tmp_path, parameters):
    data = DataSet("classification")
    names = ["w" * 5000, "صورة", "=1+1"]
    for number in range(12):
        label = names[number % 3]
        key = data.record(f"{number}.jpg", picture(number), label)
        data.group(key, "train", label=label)
    root = data.write(tmp_path)
    html = page(root, parameters("classification"))
    assert "w" * 81 not in html
    assert '<h4 dir="auto">صورة</h4>' in html
    assert set(plot(root, "classes")["label"]) == {"'=1+1", "صورة", "w" * 5000}


@pytest.mark.parametrize("side", [1, 3000])
@pytest.mark.parametrize("images", [1, 4])
def test_equal_flat_images_have_a_profile(tmp_path, parameters, side, images):
    data = DataSet("none")
    for number in range(images):
        pixels = np.full((1, side, 3), 200, np.uint8)
        png = cv2.imencode(".png", pixels)[1].tobytes() + b" " * number  # another key
        data.group(data.record(f"{number}.png", png), "train")
        data.summary[-1] |= {"width": float(side), "height": 1.0}
    root = data.write(tmp_path)
    html = page(root, parameters("none"))
    text = text_of(section(html, "profile"))
    assert "nan" not in text.lower().split()
    said = "Fewer than three images" if images == 1 else "All of them look the same"
    assert said in text
    assert plot(root, "aspect_ratios")["images"].sum() == images


def test_images_too_large_to_decode_many_of_are_said_to_be(tmp_path, parameters):
    data = full()
    for row in data.summary:
        if row["width"]:
            row |= {"width": 30_000.0, "height": 20_000.0}
    text = text_of(section(page(data.write(tmp_path), parameters()), "profile"))
    assert "From a fixed random sample of 4 images" in text
    assert "1 of 7 images Too large to decode three of them here" in text


def test_every_plot_is_written_for_an_empty_data_set(tmp_path, parameters):
    root = DataSet("none").write(tmp_path)
    text = text_of(section(page(root, parameters("none")), "profile"))
    assert "No image is kept" in text
    names = ["ratings", "classes", "sizes", "aspect_ratios", "brightness", "channels"]
    assert sorted(path.stem for path in (root / "metrics/plots/report").iterdir()) == sorted(names)
    assert len(plot(root, "sizes")) == 0


def test_a_page_of_noise_stays_small(tmp_path, parameters):
    data = DataSet("classification")
    for number in range(64):
        rng = np.random.default_rng(number)
        noise = rng.integers(0, 255, (160, 160, 3), np.uint8)
        label = f"class {number % 8}"
        key = data.record(f"{number}.jpg", cv2.imencode(".jpg", noise)[1].tobytes(), label)
        data.group(key, "train", label=label)
    data.write(tmp_path)
    path = tmp_path / "data/clean/summary.parquet"
    summary = pd.read_parquet(path)
    for number in range(16):  # checks, no two of which show the same images
        summary[f"check_{number}_score"] = np.random.default_rng(number).random(len(summary))
    summary.to_parquet(path)
    predictions = pd.DataFrame({"key": [row["key"] for row in data.groups], "split": "test",
                                "target_label": "a", "predicted_label": "b"})  # fmt: skip
    predictions.to_parquet(tmp_path / "data/predictions.parquet")
    html = page(tmp_path, parameters("classification"))
    assert section(html, "scores").count("<figure") == 16 * 10 + 5  # the scores of blur are equal
    assert section(html, "worst-predictions").count("<figure") == 24
    assert len(html) < 3_000_000


def test_operating_points_are_tabled_and_marked_on_the_curve(tmp_path, parameters):
    html = page(judged("rating").write(tmp_path), parameters(prevalence=0.01))
    test = section(html, "test")
    text = text_of(test)
    assert "Positive is a mean score above 5." in text
    assert "1. closest to the corner a rule 0.400 0.800 0.700 to 0.900 0.800" in text
    assert "3. specificity 99.5 % a rule 0.700 0.300 0.200 to 0.400 0.950" in text
    assert "PPV at 1 % NPV at 1 %" in text
    assert "0.050 0.010 to 0.200 0.990 0.900 to 1.000" in text
    assert "Sensitivity, Specificity, PPV, NPV, PPV at 1 %, NPV at 1 %: Wilson." in text
    assert "partial AUC" in text
    assert "up to a false positive rate of 0.1" in text
    roc = test[test.index("ROC curve") :].split("</svg>")[0]
    assert "ROC curve; point 1: sensitivity 0.80, specificity 0.80" in test
    assert re.findall(r'class="tag"[^>]*>([^<]*)<', roc) == ["1, 2", "3"]
    assert roc.count('class="operating"') == 2
    assert roc.count('class="chance"') == 1
    assert roc.count("<polygon") == 1  # the band
    assert "by itself (Wilson at the effective number of positives)" in text
    assert "Whiskers: 95 % intervals (t over groups)" in text


def test_predictive_values_are_drawn_over_prevalence(tmp_path, parameters):
    root = judged("rating").write(tmp_path)
    test = section(page(root, parameters(prevalence=0.01)), "test")
    titles = re.findall(r'aria-label="Predictive values over prevalence, ([^"]*)"', test)
    assert titles == ["1. closest to the corner, 2. Youden&#39;s index", "3. specificity 99.5 %"]
    charts = [part.split("</svg>")[0] for part in test.split("Predictive values over")[1:]]
    assert all(chart.count('<line class="limit"') == 1 for chart in charts)  # of deployment
    assert all(chart.count('<line class="chance"') == 1 for chart in charts)  # of the test split
    assert "own share, 40.0 %" in text_of(test)
    assert "Shaded: 95 % intervals (MOVER-R of the likelihood ratio)" in text_of(test)
    without = section(page(root, parameters(prevalence=None)), "test")
    assert '<line class="limit"' not in without
    assert "set evaluate.prevalence" in text_of(without)


def test_ranges_of_scores_are_tabled_from_low_to_high(tmp_path, parameters):
    test = section(page(judged("rating").write(tmp_path), parameters()), "test")
    text = text_of(test)
    assert "1 to 4.5 3 1.000 0.500 to 1.500 0.500 7 to 10 30 2.000 1.500 to 2.500 −1.500" in text
    assert 'aria-label="Bias by range of the true mean score"' in test
    assert test.count('class="whisker"') == 3 * 3  # two bins, one range; three lines each


def test_classes_are_tabled_with_calibration_beside_them(tmp_path, parameters):
    html = page(judged("classification").write(tmp_path), parameters("classification"))
    text = text_of(section(html, "test"))
    assert "Positive is the class dog." in text
    assert "cat 60 0.900 0.800 0.700 dog 4 0.900 0.500 0.400" in text
    assert "Brier score 0.100 (0.050 to 0.200) calibration error 0.080" in text
    assert "Whiskers: 95 % intervals (Wilson, at the effective sample size" in text


def test_of_very_many_classes_the_worst_are_tabled(tmp_path, parameters):
    data = judged("classification")
    data.metrics["evaluate"]["classes"] = {
        f"class {n:02d}": {"n": 50, "f1": figure(1 - n / 100)} for n in range(60)
    }
    html = page(data.write(tmp_path), parameters("classification"))
    text = text_of(section(html, "test"))
    assert "the 40 with the lowest F1; 20 more" in text
    assert "Class Images F1 class 59 50 0.410 class 58" in text
    assert "class 19" not in text


def test_outlier_scores_are_drawn_with_the_thresholds(tmp_path, parameters):
    html = page(judged("one_class").write(tmp_path), parameters("one_class"))
    test = section(html, "test")
    assert "Positive is an outlier: any label but good." in text_of(test)
    chart = test[test.index("Outlier scores of normal images and of outliers") :].split("</svg>")[0]
    assert chart.count("<polyline") == 2
    assert chart.count('class="chance"') == 2  # 0.4 twice; 0.7 lies outside
    assert re.findall(r'class="note"[^>]*>([^<]*)<', chart) == ["1, 2"]


def mistakes_of(data, tmp_path, parameters):
    """Return each sheet's title with (caption, detail, name) of its images."""
    data.write(tmp_path)
    html = section(page(tmp_path, parameters(data.task)), "worst-predictions")
    found = {}
    for part in html.split("<h4")[1:]:
        captions = re.findall(r"<figcaption.*?</figcaption>", part, re.DOTALL)
        lines = [tuple(re.findall(r">([^<\n]+)</(?:b|span)>", caption)) for caption in captions]
        found[re.search(r">(.*?)</h4>", part)[1]] = lines
    return found


def test_the_worst_ratings_are_shown_on_both_sides(tmp_path, parameters):
    data = full()
    for row, error in zip(data.predictions, (0.5, -3, 2, -1, 0), strict=True):
        row["predicted_mean"] = row["target_mean"] + error
    found = mistakes_of(data, tmp_path, parameters)
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


def test_the_worst_confusions_are_shown_by_kind(tmp_path, parameters):
    data = full("classification")
    for row, given in zip(data.predictions, (0.1, 0.3, 0.2, 0.9, 0.4), strict=True):
        row["probability_cat"], row["probability_dog"] = given, 1 - given
        row["predicted_label"] = "dog" if given < 0.5 else "cat"
    data.predictions[1]["target_label"] = "bird"  # the model does not know it
    found = mistakes_of(data, tmp_path, parameters)
    assert found == {
        "cat, predicted as dog": [
            ("0.100", "sample", "image 15.jpg"), ("0.200", "sample", "image 17.jpg"),
            ("0.400", "sample", "image 19.jpg"),
        ],
        "bird, predicted as dog": [("0.000", "sample", "image 16.jpg")],
        "dog, predicted as cat": [("0.100", "sample", "image 18.jpg")],
    }  # fmt: skip


def test_the_worst_outliers_are_shown_on_both_sides(tmp_path, parameters):
    found = mistakes_of(judged("one_class"), tmp_path, parameters)
    assert found["Outliers with the lowest scores"] == [
        ("0", "bad, sample", "image 15.jpg"), ("0.2", "bad, sample", "image 17.jpg"),
        ("0.4", "bad, sample", "image 19.jpg"),
    ]  # fmt: skip
    assert found["Normal images with the highest scores"] == [
        ("0.3", "good, sample", "image 18.jpg"), ("0.1", "good, sample", "image 16.jpg"),
    ]  # fmt: skip


def rows_of(text):
    """Return the table rows of a card by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_the_card_says_what_the_model_is_and_learnt_from(tmp_path, parameters):
    data = full()
    data.metrics["train"] |= {
        "parameters": 52218,
        "images": {"train": 13, "augmented": 3, "left_out": 2},
    }
    text = card(data.write(tmp_path), parameters())
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
def test_the_card_says_where_the_weights_came_from(
    tmp_path, parameters, settings, method, network, weights
):
    data = full("one_class" if method else "rating")
    data.model["parameters"] |= settings
    data.model["outlier_method"] = method
    rows = rows_of(card(data.write(tmp_path), parameters()))
    assert rows["network"] == [network]
    assert rows["weights before training"] == rows["weights"] == [weights]


def test_the_card_gives_results_with_intervals_methods_and_limits(tmp_path, parameters):
    data = judged("rating")
    data.metrics["evaluate"] |= {"groups": 5, "rmse": {"value": 1.0, "method": ""}}
    text = card(data.write(tmp_path), parameters())
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


def test_the_card_names_the_class_found_worst(tmp_path, parameters):
    text = card(judged("classification").write(tmp_path), parameters("classification"))
    assert "The class found worst is dog: F1 0.400, sensitivity 0.500, on 4 images." in text
    assert "Fewer than 20 test images of class dog (4)." in text


def test_without_a_model_the_card_is_about_the_data(tmp_path, parameters):
    text = card(judged("none").write(tmp_path), parameters("none"))
    assert "No model was trained" in text
    assert "## Data" in text
    assert "## Metrics" not in text
    assert rows_of(text)["train"] == ["13", "13", "0", "3"]


@pytest.mark.parametrize("task", ["rating", "classification", "one_class", "none"])
def test_every_table_of_the_card_is_whole(tmp_path, parameters, task):
    data = judged(task)
    data.kind = "folder"
    for row in data.records:
        row["reason"] = "a|b\n\n# c" if row["status"] == "failed" else None
    text = card(data.write(tmp_path), parameters(task))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert blocks
    for block in blocks:
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in block} == {
            len(re.findall(r"(?<!\\)\|", block[0]))
        }
        assert re.fullmatch(r"(\| -{3}:? )+\|", block[1])
    assert "None" not in text
    assert "nan" not in text
