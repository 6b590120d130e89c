import json
import re

import cv2
import numpy as np
import pandas as pd
import pytest

from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.images import previews
from darkroom.images.decode import decode
from stages.report import run
from tests.harness import damage
from tests.report.data_set import (
    HOSTILE,
    DataSet,
    build,
    evaluated,
    full,
    operating_point,
    params_of,
    picture,
    prevalence_csv,
    report,
    section,
    shared,
    text_of,
)


@pytest.mark.parametrize("task", ["rating", "classification", "one_class", "none"])
def test_the_page_needs_nothing_from_outside(task):
    html = shared(evaluated, task).page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert not re.search(r"url\(|@import|https?://", html)


@pytest.mark.parametrize("task", ["rating", "classification", "one_class", "none"])
def test_the_same_data_give_the_same_bytes(tmp_path, task):
    one, two = shared(evaluated, task), build(tmp_path, evaluated(task))
    assert one.page == two.page
    assert one.card == two.card


def test_workers_and_private_paths_are_not_on_the_page(tmp_path, values):
    values["download"]["sources"] = [{"kind": "folder", "path": "/home/someone/secret"}]
    values["engine"]["workers"] = 7
    values["train"]["task"] = "rating"
    html = build(tmp_path, full(), check_params(values, Params)).page
    assert html == shared(full).page
    assert "secret" not in html


def test_hostile_names_labels_and_reasons_are_escaped(tmp_path):
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
    html = build(tmp_path, data).page
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'title="&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;.jpg"' in html
    text = (tmp_path / "metrics/model_card.md").read_text()
    assert not re.search(r"(?<!\\)<", text)
    assert "\\<script\\>alert(1)\\</script\\>\"'\\&.jpg" in text


def test_a_missing_table_names_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        run(tmp_path, params_of("rating"))
    assert not (tmp_path / "metrics/report.html").exists()


def test_metrics_json_is_not_needed_to_be_complete(tmp_path):
    data = full()
    data.metrics, data.plots = {}, {}
    root = data.write(tmp_path)
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics/evaluate.json").write_text(json.dumps({"auc": {"value": None}}))
    assert "No curve was written" in report(root, params_of("rating")).page


def test_every_plot_is_written_for_an_empty_data_set(tmp_path):
    made = build(tmp_path, DataSet("none"))
    text = text_of(section(made.page, "profile"))
    assert "No image is kept" in text
    names = ["ratings", "classes", "sizes", "aspect_ratios", "brightness", "channels"]
    assert sorted(made.plots) == sorted(names)
    assert len(made.plots["sizes"]) == 0


def test_what_clean_did_not_find_whole_is_never_decoded(tmp_path, monkeypatch):
    data = full()
    crashing = data.record("crash.jpg", picture(900))
    data.check(crashing, "failed", "decoder_crashed", fault=True)
    refused = {picture(900), picture(1)[:900], b""}
    seen = []
    monkeypatch.setattr(previews, "decode", noting(seen))
    build(tmp_path, data)
    assert len(seen) > 20
    assert not refused & set(seen)


def noting(seen):
    def decode_and_note(content, *settings):
        seen.append(content)
        return decode(content, *settings)

    return decode_and_note


def test_what_no_longer_decodes_leaves_its_place_empty(tmp_path):
    root = full().write(tmp_path)
    damage(root, previews.locate(root))
    html = report(root, params_of("rating")).page
    assert html.count("no picture") > 30
    assert "Fewer than three of them decode" in html


def test_a_page_of_noise_stays_small(tmp_path):
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
    html = report(tmp_path, params_of("classification")).page
    assert section(html, "scores").count("<figure") == 16 * 10 + 5  # the scores of blur are equal
    assert section(html, "worst-predictions").count("<figure") == 24
    assert len(html) < 3_000_000
