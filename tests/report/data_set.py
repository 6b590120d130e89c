"""A data set as the stages write it, filled image by image, and the report on it."""

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from darkroom.checks import measure
from darkroom.core.files import write_json, write_metrics, write_text
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of, write_shard
from darkroom.core.tables import AUGMENTED, GROUPS, INDEX, PAIRS, RECORDS, SPLIT, write_table
from stages.report import run
from tests.harness import read_values

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

    def check(self, key, status="kept", reason=None, fault=False, blurry=False):
        self.summary.append({"key": key, "status": status, "reason": reason, "is_blurry": blurry,
                             "is_dark": False, "width": None if fault else 100.0,
                             "height": None if fault else 80.0, "format": "JPEG", "mode": "RGB",
                             "bytes": 2000, "blurry_score": None if fault else 0.5})  # fmt: skip

    def broken(self, name, reason, content):
        self.check(self.record(name, content), "rejected", reason, fault=True)

    def group(self, key, split=None, of=None, reason=None, likeness=None, **labels):
        status = "kept" if split else "rejected"
        self.check(key)
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
        summary_path = root / "data/clean/summary.parquet"
        summary_path.parent.mkdir(parents=True)
        summary.to_parquet(summary_path)
        write_parts(root, summary)
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


def write_parts(root, summary):
    """Write the part of clean that fits a summary, without previews: every image is small."""
    part = pd.DataFrame({"key": summary["key"]}, dtype=object).drop_duplicates("key")
    faulty = summary.loc[summary["blurry_score"].isna(), "key"]
    part["fault"] = part["key"].map(dict.fromkeys(faulty, "corrupt"))
    part = part.reindex(columns=measure.PARTS.names)
    write_table(part, root / "data/clean/parts/00000.parquet", measure.PARTS)


def frame(rows, schema):
    return pd.DataFrame(rows, columns=schema.names, dtype=object)


def full(task="rating") -> DataSet:
    """A data set in which everything that a report shows happens."""
    data = DataSet(task)
    data.fail("gone.jpg", "timeout")
    data.broken("empty.jpg", "empty", b"")
    data.broken("half.jpg", "truncated", picture(1)[:900])
    small = data.record("small.jpg", picture(2))
    data.check(small, "rejected", "too_small")
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


def metric(value, low=None, high=None, method="Wilson", **more):
    return {"value": value, "ci95": {"low": low, "high": high}, "method": method, **more}


def operating_point(threshold, sensitivity, specificity, **more):
    shares = {"sensitivity": sensitivity, "specificity": specificity, "ppv": 0.9, "npv": 0.5}
    metrics = {name: metric(share, share - 0.1, share + 0.1) for name, share in shares.items()}
    return {"chosen_by": "a rule", "threshold": threshold, **metrics, **more}


def prevalence_csv(**points):
    """Each point's PPV at three prevalences; NPV is 0.5 everywhere."""
    head = "point,prevalence,ppv,ppv_low,ppv_high,npv,npv_low,npv_high\n"
    rows = [f"{name},{at},{ppv},0.1,0.9,0.5,0.4,0.6\n"
            for name, ppv in points.items() for at in (0.001, 0.5, 0.999)]  # fmt: skip
    return head + "".join(rows)


def evaluated(task) -> DataSet:
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
            0.7, 0.3, 0.95, at_prevalence={"prevalence": 0.01, "ppv": metric(0.05, 0.01, 0.2),
                                           "npv": metric(0.99, 0.9, 1.0)}),
    }  # fmt: skip
    tree = {"n": 5, "positives": 2, "n_validation": 2, "operating_points": points,
            "partial_auc": metric(0.7, 0.6, 0.8, below=0.1)}  # fmt: skip
    equal = {"youden": 0.5, "closest_to_corner": 0.5, "specificity_99%2E5": 0.7}
    data.plots["evaluate/prevalence.csv"] = prevalence_csv(**equal)
    calibration = "class,predicted,observed,n,low,high\n"
    if task == "rating":
        calibration += "mean score,3,3.5,9,2,4\nmean score,7,6.8,9,6,8\n"
        tree["ranges"] = {
            "7_to_10": {"n": 30, "rmse": metric(2.0, 1.5, 2.5), "bias": metric(-1.5, -2, -1)},
            "1_to_4%2E5": {"n": 3, "rmse": metric(1.0, 0.5, 1.5), "bias": metric(0.5)},
        }
    if task == "classification":
        calibration += "dog,0.2,0.3,9,0.1,0.6\ndog,0.9,0.6,9,0.3,0.8\n"
        tree["positive_class"] = "dog"
        tree["brier"] = metric(0.1, 0.05, 0.2)
        tree["calibration_error"] = metric(0.08, note="biased upwards")
        tree["classes"] = {
            "cat": {"n": 60, "auc": metric(0.9), "sensitivity": metric(0.8), "f1": metric(0.7)},
            "dog": {"n": 4, "auc": metric(0.9), "sensitivity": metric(0.5), "f1": metric(0.4)},
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


def contradictory(task="classification") -> DataSet:
    """Files in two official splits, a family in two, and labels that contradict each other."""
    data = DataSet(task)
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


def text_of(html: str) -> str:
    html = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def section(html, name):
    start = html.index(f'id="{name}"')
    return html[start : html.index("</section>", start)]


class Report(NamedTuple):
    """What the stage wrote."""

    page: str
    card: str
    plots: dict[str, pd.DataFrame]


def params_of(task, **evaluate) -> Params:
    values = read_values()
    values["train"]["task"] = task
    if task == "one_class":
        values["train"] |= {"normal_class": "good", "backbone": "bundled", "image_size": 128}
    values["evaluate"].update(evaluate)
    return check_params(values, Params)


def build(root: Path, data: DataSet, params: Params | None = None) -> Report:
    """Write the data set below an empty folder, run the stage, and return what it wrote."""
    return report(data.write(root), params or params_of(data.task))


def report(root: Path, params: Params) -> Report:
    """Run the stage on what lies below `root`, and return what it wrote."""
    run(root, params)
    metrics = root / "metrics"
    plots = {path.stem: pd.read_csv(path) for path in (metrics / "plots/report").iterdir()}
    return Report(
        (metrics / "report.html").read_text(), (metrics / "model_card.md").read_text(), plots
    )


@cache
def shared(make, task="rating", **evaluate) -> Report:
    """Return the report on an unchanged data set: the first test that asks builds it for all."""
    with TemporaryDirectory() as folder:
        return build(Path(folder), make(task), params_of(task, **evaluate))
