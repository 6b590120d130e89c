import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from sklearn import metrics as sk

from darkroom.core.csv import to_csv
from darkroom.core.errors import UserError
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.load import check_params
from darkroom.core.params.scale import Scale
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of, write_shard
from darkroom.core.tables import GROUPS, INDEX, SPLIT, write_table
from darkroom.evaluation.plot_tables import MAX_ROWS, PLOTS, draw_plots
from darkroom.evaluation.predictions import (
    class_predictions,
    evaluate_predictions,
    rating_predictions,
)
from darkroom.models.saved import SavedModel
from stages import evaluate
from tests.harness import damage_raw

SCALE = Scale(low=1, high=10, bins=10)
SHARES = np.full(10, 0.1)
RATER = SavedModel("rating", (), SCALE, 16, "resize", b"")


def settings(**changed):
    """Return the parameters of evaluate, few resamples and these changes."""
    given = {
        "cutoff": 5, "positive_class": None, "confidence": 0.95, "prevalence": None,
        "specificity": 0.9, "costs": None, "partial_auc_below": 0.1, "score_ranges": 3,
        "bootstrap": 100,
    }  # fmt: skip
    return EvaluateParams.model_validate(given | changed)


def flat_png(grey):
    from io import BytesIO

    stream = BytesIO()
    Image.fromarray(np.full((16, 16, 3), grey, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write_root(root, rows):
    """Write the inputs of evaluate; a row is (grey, split, split_group, label columns)."""
    contents = [flat_png(grey) for grey, *_ in rows]
    keys = [key_of(content) for content in contents]
    members = [(f"{key}.png", content) for key, content in zip(keys, contents, strict=True)]
    places = write_shard(root / "data/raw/00000.tar", members)
    index, groups, splits = [], [], []
    for key, place, (_, split, group, labels) in zip(keys, places, rows, strict=True):
        given = dict.fromkeys(["label", "ratings", "mean", "std", "official_split"]) | labels
        given["source_group"] = group
        common = {"key": key, "status": "kept", "reason": None, **given}
        index.append(common | place._asdict() | {"source": "test", "name": key, "uri": None})
        groups.append(
            common | {"copy_group": key, "family": key, "representative": key, "records": 1,
                      "label_conflict": False}
        )  # fmt: skip
        if split:
            splits.append({"key": key, "split": split, "split_group": group, "stratum": None})
    write_table(pd.DataFrame(index), root / "data/raw/index.parquet", INDEX)
    (root / "data/dedupe").mkdir(parents=True)
    write_table(pd.DataFrame(groups), root / "data/dedupe/groups.parquet", GROUPS)
    write_table(pd.DataFrame(splits), root / "data/split.parquet", SPLIT)
    return keys


def brightness_as_votes(self, images):
    """Stand for a model: share 1 - b on the lowest bin and b on the highest, b the brightness."""
    bright = np.array([image.mean() / 255 for image in images], np.float32)
    outputs = np.zeros((len(bright), self.scale.bins if self.scale else len(self.classes)))
    outputs[:, 0], outputs[:, -1] = 1 - bright, bright
    return outputs.astype(np.float32)


@pytest.fixture
def use(monkeypatch):
    """Return a function that puts a stand-in in the place of the saved model."""

    def put(model):
        monkeypatch.setattr(SavedModel, "load", classmethod(lambda cls, folder: model))
        monkeypatch.setattr(SavedModel, "predict", brightness_as_votes)

    return put


def read(root):
    table = pd.read_parquet(root / "data/predictions.parquet")
    tree = json.loads((root / "metrics/evaluate.json").read_text())
    plots = {
        path.stem: pd.read_csv(path)
        for path in sorted((root / "metrics/plots/evaluate").glob("*.csv"))
    }
    assert sorted(plots) == sorted(PLOTS)
    return table, tree, plots


def rated(count, noise=25, groups=30):
    rng = np.random.default_rng(5)
    greys = rng.permutation(np.arange(count) * 255 // count)
    means = np.clip(1 + 9 * (greys + rng.normal(0, noise, count)) / 255, 1, 10)
    splits = ["train", "validation", "test", "test"]
    return [
        (int(grey), splits[i % 4], f"photograph {i % groups}", {"mean": float(mean)})
        for i, (grey, mean) in enumerate(zip(greys, means, strict=True))
    ]


def classified(count, classes=("cage.man", "scene")):
    rng = np.random.default_rng(6)
    rows = []
    for i in range(count):
        grey = i * 255 // count
        seen = np.clip(grey + rng.normal(0, 40), 0, 254) / 255
        label = classes[int(seen * len(classes))]
        rows.append((grey, ["validation", "test"][i % 2], f"{i}", {"label": label}))
    return rows


def test_ratings_are_evaluated_as_scipy_and_scikit_learn_do(tmp_path, params, use):
    use(RATER)
    write_root(tmp_path, rated(240))
    evaluate.run(tmp_path, params)
    table, tree, plots = read(tmp_path)
    test = table[table["split"] == "test"]
    target, predicted = test["target_mean"], test["predicted_mean"]
    assert set(table["split"]) == {"validation", "test"}
    assert (tree["n"], tree["n_validation"], tree["groups"]) == (120, 60, 30)
    assert tree["positives"] == (target > 5).sum()
    assert tree["srcc"]["value"] == pytest.approx(stats.spearmanr(target, predicted).statistic)
    assert tree["plcc"]["value"] == pytest.approx(stats.pearsonr(target, predicted).statistic)
    assert tree["auc"]["value"] == pytest.approx(sk.roc_auc_score(target > 5, predicted))
    assert tree["accuracy"]["value"] == pytest.approx(((predicted > 5) == (target > 5)).mean())
    for name in ("srcc", "plcc", "rmse", "auc", "accuracy"):
        ends = tree[name]["ci95"]
        assert ends["low"] < tree[name]["value"] < ends["high"], name
    assert tree["auc"]["method"] == "DeLong for clusters (Obuchowski), logit"
    assert tree["srcc"]["method"] == "cluster bootstrap, BCa"
    assert tree["interval_reliable"]
    assert plots["roc"][["false_positive_rate", "true_positive_rate"]].iloc[-1].tolist() == [1, 1]
    assert plots["calibration"]["n"].sum() == len(plots["confusion"]) == 120
    ranges = plots["ranges"]
    assert ranges[["low", "high"]].to_numpy().tolist() == [[1, 4], [4, 7], [7, 10]]
    assert ranges["n"].sum() == 120
    assert ranges["rmse"][0] == pytest.approx(tree["ranges"]["1_to_4"]["rmse"]["value"], abs=1e-5)


def test_what_no_longer_decodes_is_left_out_and_counted(tmp_path, params, use):
    use(RATER)
    keys = write_root(tmp_path, rated(40))
    damage_raw(tmp_path, keys[2], keys[1])
    evaluate.run(tmp_path, params)
    table, tree, _ = read(tmp_path)
    assert tree["failed"] == {"not_an_image": 2}
    assert not {keys[1], keys[2]} & set(table["key"])
    assert (tree["n"], tree["n_validation"]) == (19, 9)


def test_a_range_of_few_groups_says_so_where_the_whole_has_enough():
    means = np.append(np.linspace(1, 6.5, 40), [8.0, 9.0])
    rows = pd.DataFrame(
        {"key": [f"k{i}" for i in range(42)], "split": "test"}
        | {"split_group": [f"g{i}" for i in range(42)], "ratings": None, "std": np.nan}
        | {"mean": means}
    )
    outputs = np.zeros((42, 10), np.float32)
    outputs[:, 0], outputs[:, 9] = 1 - means / 10, means / 10
    tree = evaluate_predictions(rating_predictions(rows, outputs, SCALE), RATER, settings(), 17)
    assert tree["ranges"]["7_to_10"]["groups"] == 2
    assert tree["ranges"]["7_to_10"]["note"] == (
        "intervals unreliable for true means from 7 to 10: 2 groups"
    )
    assert "note" not in tree["ranges"]["1_to_4"]
    assert tree["interval_reliable"]


def test_the_threshold_is_chosen_on_validation_alone(tmp_path, params, use):
    use(RATER)
    write_root(tmp_path, rated(240))
    evaluate.run(tmp_path, params)
    table, tree, _ = read(tmp_path)
    point = tree["operating_points"]["youden"]
    held = table[table["split"] == "validation"]
    rates = sk.roc_curve(held["target_mean"] > 5, held["predicted_mean"], drop_intermediate=False)
    assert point["threshold"] == rates[2][np.argmax(rates[1] - rates[0])]
    assert point["chosen_by"] == "greatest sum of sensitivity and specificity on validation"
    test = table[table["split"] == "test"]
    good, called = test["target_mean"] > 5, test["predicted_mean"] >= point["threshold"]
    assert point["sensitivity"]["value"] == pytest.approx(called[good].mean())
    assert point["specificity"]["value"] == pytest.approx((~called)[~good].mean())
    assert point["ppv"]["value"] == pytest.approx(good[called].mean())
    assert point["npv"]["value"] == pytest.approx((~good)[~called].mean())


def test_histograms_give_distances_and_a_mean_alone_gives_none(tmp_path, params, use):
    use(RATER)
    votes = np.zeros(10, int)
    votes[[0, 9]] = 3, 1
    rows = rated(40)
    rows[2] = (rows[2][0], "test", "known", {"ratings": votes.tolist(), "mean": 9.9})
    keys = write_root(tmp_path, rows)
    evaluate.run(tmp_path, params)
    table, tree, _ = read(tmp_path)
    known = table.set_index("key").loc[keys[2]]
    assert known["target_mean"] == pytest.approx(1 * 0.75 + 10 * 0.25)
    assert table["target_bin_1"].notna().sum() == 1
    assert tree["emd_r1"]["n"] == 1
    assert tree["emd_r1"]["value"] == pytest.approx(0.9 * abs(0.75 - known["bin_1"]), abs=1e-6)
    assert "one group" in tree["emd_r1"]["note"]


def test_two_classes(tmp_path, values, use):
    values["evaluate"]["prevalence"] = 0.01
    use(SavedModel("classification", ("cage.man", "scene"), None, 16, "resize", b""))
    write_root(tmp_path, classified(200))
    evaluate.run(tmp_path, check_params(values, Params))
    table, tree, plots = read(tmp_path)
    test = table[table["split"] == "test"]
    truth, score = test["target_label"] == "scene", test["probability_scene"]
    assert tree["positive_class"] == "scene"
    assert tree["auc"]["value"] == pytest.approx(sk.roc_auc_score(truth, score))
    assert tree["auc"]["method"] == "DeLong, logit"
    assert tree["brier"]["value"] == pytest.approx(sk.brier_score_loss(truth, score))
    assert tree["accuracy"]["method"] == "Wilson"
    point = tree["operating_points"]["youden"]
    hits, false_calls = point["sensitivity"]["value"], 1 - point["specificity"]["value"]
    ppv = point["at_prevalence"]["ppv"]
    assert ppv["value"] == pytest.approx(0.01 * hits / (0.01 * hits + 0.99 * false_calls))
    assert ppv["ci95"]["low"] < ppv["value"] < ppv["ci95"]["high"]
    assert set(plots["roc"]["class"]) == {"scene"}
    assert set(plots["prevalence"]["point"]) == {"closest_to_corner", "youden", "specificity_90"}
    band = plots["roc"].groupby("false_positive_rate").last()
    assert (
        (band["low"] <= band["true_positive_rate"]) & (band["true_positive_rate"] <= band["high"])
    ).all()
    bins = plots["calibration"]
    assert bins["n"].sum() == tree["n"]
    assert ((bins["low"] <= bins["observed"]) & (bins["observed"] <= bins["high"])).all()
    gaps = (bins["n"] * (bins["predicted"] - bins["observed"]).abs()).sum() / tree["n"]
    assert tree["calibration_error"]["value"] == pytest.approx(gaps, abs=1e-5)


def test_a_positive_class_can_be_chosen_and_must_exist(tmp_path, values, use):
    use(SavedModel("classification", ("cage.man", "scene"), None, 16, "resize", b""))
    write_root(tmp_path, classified(60))
    values["evaluate"]["positive_class"] = "cage.man"
    evaluate.run(tmp_path, check_params(values, Params))
    assert read(tmp_path)[1]["positive_class"] == "cage.man"
    values["evaluate"]["positive_class"] = "cat"
    with pytest.raises(UserError, match=r"evaluate\.positive_class.*cage\.man, scene.*'cat'"):
        evaluate.run(tmp_path, check_params(values, Params))


def test_three_classes_are_evaluated_one_against_the_rest(tmp_path, params, use):
    names = ("a.1", "b", "c")
    use(SavedModel("classification", names, None, 16, "resize", b""))
    write_root(tmp_path, classified(255, names))
    evaluate.run(tmp_path, params)
    table, tree, plots = read(tmp_path)
    test = table[table["split"] == "test"]
    scores = test[[f"probability_{name}" for name in names]].to_numpy()
    expected = sk.roc_auc_score(test["target_label"], scores, multi_class="ovr", labels=names)
    assert tree["auc"]["value"] == pytest.approx(expected)
    assert list(tree["classes"]) == ["a%2E1", "b", "c"]
    recall = sk.recall_score(test["target_label"], test["predicted_label"], average=None)
    found = [tree["classes"][name]["sensitivity"]["value"] for name in ("a%2E1", "b", "c")]
    assert found == pytest.approx(recall)
    assert set(plots["roc"]["class"]) == set(names)


def test_a_label_that_the_model_does_not_know_is_an_error_of_the_model(tmp_path, params, use):
    use(SavedModel("classification", ("cage.man", "scene"), None, 16, "resize", b""))
    rows = classified(60)
    rows[1] = (*rows[1][:3], {"label": "zebra"})
    write_root(tmp_path, rows)
    evaluate.run(tmp_path, params)
    tree = read(tmp_path)[1]
    assert tree["unknown_labels"] == 1
    assert tree["accuracy"]["value"] < 1


@pytest.mark.parametrize(
    ("means", "groups"),
    [
        pytest.param([8.0, 9.0, 7.0, 8.5], "abcd", id="all good"),
        pytest.param([8.0, 2.0, 2.5, 3.0], "abcd", id="one good"),
        pytest.param([8.0, 2.0, 9.0, 3.0], "aaaa", id="one group"),
        pytest.param([8.0, 2.0, 9.0, 3.0], "aabb", id="two groups"),
        pytest.param([4.0, 4.0, 4.0, 4.0], "abcd", id="all the same"),
        pytest.param([8.0], "a", id="one image"),
        pytest.param([], "", id="nothing"),
    ],
)
@pytest.mark.parametrize("constant", [False, True], ids=["", "constant predictions"])
def test_what_cannot_be_measured_is_null_with_a_note(means, groups, constant):
    keys = {
        "key": [f"k{i}" for i in range(len(means))],
        "split": "test",
        "split_group": list(groups),
    }
    rows = pd.DataFrame(keys).assign(ratings=None, std=None, mean=means)
    bright = np.full(len(means), 0.5) if constant else np.linspace(0.2, 0.8, len(means))
    outputs = np.zeros((len(means), 10), np.float32)
    outputs[:, 0], outputs[:, 9] = 1 - bright, bright
    table = rating_predictions(rows, outputs, SCALE)
    params = settings(prevalence=0.1, costs={"false_positive": 1, "false_negative": 5})
    tree = evaluate_predictions(table, RATER, params, 17)
    draw_plots(table, RATER, params, 17, tree)
    json.dumps(tree, allow_nan=False)
    assert not tree["interval_reliable"]
    assert tree["note"] == f"interval unreliable: {len(set(groups))} groups"
    for metric in (tree["auc"], tree["srcc"], tree["accuracy"]):
        assert (metric["ci95"]["low"] is None) == ("note" in metric)


@pytest.mark.parametrize("labels", [["cat"] * 4, ["cat"], []], ids=["one class", "one", "nothing"])
def test_classes_that_cannot_be_measured(labels):
    count = len(labels)
    names = [f"k{i}" for i in range(count)]
    rows = pd.DataFrame({"key": names, "split": "test", "split_group": names, "label": labels})
    for classes in (("cat", "dog"), ("cat", "dog", "cow"), ("cat",)):
        model = SavedModel("classification", classes, None, 16, "resize", b"")
        outputs = np.full((count, len(classes)), 1 / len(classes), np.float32)
        table = class_predictions(rows, outputs, classes)
        params = settings(confidence=0.9, prevalence=0.1)
        tree = evaluate_predictions(table, model, params, 17)
        draw_plots(table, model, params, 17, tree)
        json.dumps(tree, allow_nan=False)
        assert tree["auc"]["value"] is None
        assert tree["auc"]["note"]
        assert "ci90" in tree["auc"]


def metrics_in(tree):
    """Return every metric in a metrics tree."""
    if not isinstance(tree, dict):
        return []
    inner = [metric for value in tree.values() for metric in metrics_in(value)]
    return [*inner, tree] if "value" in tree else inner


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_predicted_a_number_has_its_method_and_none_has_its_reason(seed):
    rng = np.random.default_rng(seed)
    count, kinds = int(rng.integers(0, 9)), ["rating", "two", "three"]
    keys = [f"k{i}" for i in range(count)]
    rows = pd.DataFrame({"key": keys, "split": rng.choice(["validation", "test"], count)})
    rows = rows.assign(split_group=rng.choice(list("abcde"), count).astype(object))
    shares = rng.dirichlet(np.ones(10), count).round(1 + seed % 3)
    if kinds[seed % 3] == "rating":
        votes = rng.multinomial(5, np.full(10, 0.1), count)
        known = rng.random(count) < 0.7
        ratings = [v.tolist() if k else None for v, k in zip(votes, known, strict=True)]
        rows = rows.assign(ratings=ratings, mean=rng.uniform(1, 10, count), std=np.nan)
        rows["ratings"] = rows["ratings"].astype(object)
        table, model = rating_predictions(rows, shares, SCALE), RATER
    else:
        classes = ("a", "b", "c")[: 2 + seed % 2]
        labels = rng.choice([*classes, "unknown"], count).astype(object)
        table = class_predictions(rows.assign(label=labels), shares[:, : len(classes)], classes)
        model = SavedModel("classification", classes, None, 16, "resize", b"")
    params = settings(costs={"false_positive": 1, "false_negative": 5}, prevalence=0.1)
    tree = evaluate_predictions(table, model, params, 17)
    plots = draw_plots(table, model, params, 17, tree)
    json.dumps(tree, allow_nan=False)
    assert {name: list(rows.columns) for name, rows in plots.items()} == PLOTS
    for metric in metrics_in(tree):
        low, high = metric["ci95"]["low"], metric["ci95"]["high"]
        assert metric["method"]
        if low is None or metric["value"] is None:
            assert metric["note"]
        else:
            assert low <= high


def test_without_a_task_every_out_is_there_and_empty(tmp_path, params):
    (tmp_path / "data/model").mkdir(parents=True)
    (tmp_path / "data/model/model.json").write_text('{"task": "none"}')
    evaluate.run(tmp_path, params)
    table, tree, plots = read(tmp_path)
    assert list(table.columns) == ["key", "split", "split_group"]
    assert len(table) == 0
    assert tree == {"task": "none"}
    assert {name: list(rows.columns) for name, rows in plots.items()} == PLOTS


def put_outputs(monkeypatch, outputs):
    """Let the network give these outputs, whatever it sees."""
    monkeypatch.setattr(SavedModel, "predict", lambda self, images: outputs(len(list(images))))


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param(lambda n: np.full((n, 2), np.nan, np.float32), id="not a number"),
        pytest.param(lambda n: np.full((n, 2), np.inf, np.float32), id="infinite"),
        pytest.param(lambda n: np.full((n, 2), 3.0, np.float32), id="no probabilities"),
        pytest.param(lambda n: np.tile([[-1.0, 2.0]], (n, 1)), id="negative"),
    ],
)
def test_a_broken_model_stops(tmp_path, params, use, monkeypatch, outputs):
    use(SavedModel("classification", ("cage.man", "scene"), None, 16, "resize", b""))
    put_outputs(monkeypatch, outputs)
    write_root(tmp_path, classified(20))
    with pytest.raises(UserError, match=r"probabilities that sum to 1.*20 of 20.*dvc repro"):
        evaluate.run(tmp_path, params)
    assert not (tmp_path / evaluate.METRICS).exists()


def test_one_broken_prediction_is_counted(tmp_path, params, use, monkeypatch):
    use(RATER)
    put_outputs(monkeypatch, lambda n: np.where(np.arange(n)[:, None] == 3, np.nan, SHARES))
    write_root(tmp_path, rated(40))
    with pytest.raises(UserError, match=r"for 1 of 30 images"):
        evaluate.run(tmp_path, params)


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        pytest.param(RATER, classified(20), r"task rating.*20 images have class names.*train\.task",
                     id="a model of ratings, labels of classes"),
        pytest.param(
            SavedModel("classification", ("a", "b"), None, 16, "resize", b""), rated(20),
            r"task classification.*20 images have ratings.*train\.task",
            id="a model of classes, labels of ratings",
        ),
        pytest.param(
            SavedModel("classification", ("a", "b"), None, 16, "resize", b""), classified(20),
            r"knows the classes a, b, but.*cage\.man, scene.*dvc repro train",
            id="none of the labels is a class of the model",
        ),
    ],
)  # fmt: skip
def test_a_model_for_other_labels_stops(tmp_path, params, use, model, rows, message):
    use(model)
    write_root(tmp_path, rows)
    with pytest.raises(UserError, match=message):
        evaluate.run(tmp_path, params)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("task", ["rating", "classification"])
def test_a_split_alone(tmp_path, params, use, task, split):
    classes = ("cage.man", "scene")
    if task == "rating":
        rows, model = rated(8), RATER
    else:
        rows = classified(8)
        model = SavedModel("classification", classes, None, 16, "resize", b"")
    use(model)
    write_root(tmp_path, [(grey, split, group, label) for grey, _, group, label in rows])
    evaluate.run(tmp_path, params)
    table, tree, _ = read(tmp_path)
    assert len(table) == (0 if split == "train" else 8)
    assert (tree["n"], tree["n_validation"]) == (8 * (split == "test"),
                                                       8 * (split == "validation"))  # fmt: skip
    assert (tree["accuracy"]["value"] is None) == (split != "test")
    for point in tree["operating_points"].values():
        assert (point["chosen_by"][:7] == "default") == (split != "validation")
        assert "few validation images" in point["note"]


@pytest.mark.parametrize(
    ("card", "message"),
    [
        pytest.param("{", r"model\.json is no description.*JSON", id="cut off"),
        pytest.param("{}", r"KeyError: 'task'.*dvc repro train", id="empty"),
        pytest.param('{"task": "rating", "scale": 3}', r"no description", id="nonsense"),
    ],
)
def test_a_broken_description_of_the_model_stops(tmp_path, params, card, message):
    (tmp_path / "data/model").mkdir(parents=True)
    (tmp_path / "data/model/model.json").write_text(card)
    with pytest.raises(UserError, match=message):
        evaluate.run(tmp_path, params)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096], ids=["empty", "nonsense"])
def test_a_broken_network_stops(tmp_path, params, monkeypatch, content):
    model = SavedModel("classification", ("cage.man", "scene"), None, 16, "resize", content)
    monkeypatch.setattr(SavedModel, "load", classmethod(lambda cls, folder: model))
    write_root(tmp_path, classified(4))
    with pytest.raises(UserError, match=r"model\.tflite is no whole model.*dvc repro train"):
        evaluate.run(tmp_path, params)


def test_without_a_model_it_says_what_to_run(tmp_path, params):
    with pytest.raises(FileNotFoundError, match=r"dvc repro"):
        evaluate.run(tmp_path, params)


def test_unlabelled_images_are_not_evaluated(tmp_path, params, use):
    use(RATER)
    rows = rated(40)
    rows[3] = (*rows[3][:3], {})
    keys = write_root(tmp_path, rows)
    evaluate.run(tmp_path, params)
    table, tree, _ = read(tmp_path)
    assert keys[3] not in set(table["key"])
    assert tree["n"] == 19


def test_two_runs_agree_byte_for_byte_whatever_the_order(tmp_path, params, use):
    use(RATER)
    rows = rated(80)
    for name, order in (("one", rows), ("two", rows[::-1])):
        write_root(tmp_path / name, order)
        evaluate.run(tmp_path / name, params)
    outs = [tmp_path / "one" / evaluate.TARGET, tmp_path / "one" / evaluate.METRICS]
    outs += sorted((tmp_path / "one" / evaluate.PLOTS).iterdir())
    for path in outs:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes(), path.name


def fields_of(template):
    """Return the columns that a Vega template names, and how often it lets one zoom."""
    if isinstance(template, list):
        parts = [fields_of(part) for part in template]
    elif isinstance(template, dict):
        parts = [fields_of(part) for name, part in template.items() if name != "data"]
        own = template.get("field")
        parts.append(({own} if isinstance(own, str) else set(), int("params" in template)))
    else:
        parts = []
    return set().union(*(names for names, _ in parts)), sum(zooms for _, zooms in parts)


@pytest.mark.parametrize("name", ["roc", "prevalence", "calibration"])
def test_the_templates_of_plots_draw_columns_that_exist(repository, name):
    template = json.loads((repository / f".dvc/plots/{name}.json").read_text())
    fields, zooms = fields_of(template)
    named = {field for field in fields if not field.startswith("<DVC_METRIC_")}
    assert named <= {*PLOTS[name], "x", "y"}  # x and y are of the line of chance
    assert zooms == 1  # more than one, and Vega refuses: Duplicate signal name


def test_a_cutoff_off_the_scale_stops_at_once(values):
    values["train"]["scale"] = {"low": 0, "high": 1, "bins": 10}
    with pytest.raises(UserError, match=r"evaluate\.cutoff: expected .* from 0 to below 1; got 5"):
        check_params(values, Params)


def test_a_large_test_split_is_drawn_by_a_sample():
    count = MAX_ROWS + 500
    rows = pd.DataFrame({"key": [f"{i:05d}" for i in range(count)], "split": "test"})
    rows = rows.assign(
        split_group=rows["key"], ratings=None, std=None, mean=np.linspace(1, 10, count)
    )
    rng = np.random.default_rng(1)
    outputs = rng.dirichlet(np.ones(10), count).astype(np.float32)
    table, params = rating_predictions(rows, outputs, SCALE), settings(bootstrap=100)
    tree = evaluate_predictions(table, RATER, params, 17)
    plots = draw_plots(table, RATER, params, 17, tree)
    assert len(plots["predictions"]) == MAX_ROWS
    assert len(plots["roc"]) <= 500
    assert plots["calibration"]["n"].sum() == count


def test_a_cell_is_no_formula():
    assert (
        to_csv(pd.DataFrame({"class": ["=1+1", "cat"], "n": [-1, 2]}))
        == "class,n\n'=1+1,-1\ncat,2\n"
    )


# NumPy 2 warns of how Keras 3.15 reads its variables: keras/src/backend/tensorflow/core.py
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_saved_model_itself_predicts(tmp_path, params):
    keras = pytest.importorskip("tensorflow").keras
    from darkroom.models.saved import write_model

    image = keras.Input((16, 16, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(mean))
    weights = np.repeat((np.arange(10) - 4.5)[None] / 255, 3, axis=0)
    model.layers[-1].set_weights([weights, -1.5 * (np.arange(10) - 4.5)])
    card = {"task": "rating", "classes": [], "scale": SCALE.model_dump(), "preprocess": [],
            "input": {"size_px": 16, "rule": "resize"}}  # fmt: skip
    write_model(tmp_path / "data/model", model, card, np.zeros((2, 16, 16, 3), np.float32))
    write_root(tmp_path, rated(120))
    evaluate.run(tmp_path, params)
    table, tree, _ = read(tmp_path)
    assert table[[f"bin_{k}" for k in range(1, 11)]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert tree["srcc"]["value"] > 0.9
