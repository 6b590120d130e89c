"""Every metric beside scikit-learn's, SciPy's or a published one, to 1e-9, on data with ties."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.scale import Scale
from darkroom.evaluation import agreement, calibration, classification, roc, thresholds
from darkroom.evaluation.binary import roc_rows
from darkroom.evaluation.emd import emd_r1, emd_r2
from darkroom.evaluation.intervals import wilson
from darkroom.evaluation.metrics import BinaryScores, Settings
from darkroom.evaluation.operating_points import at_prevalence, operating_points
from darkroom.evaluation.predictions import class_predictions, rating_predictions
from darkroom.evaluation.tasks import evaluate_predictions
from darkroom.models.saved import SavedModel

EXACT = {"rel": 0, "abs": 1e-9}
SEEDS = pytest.mark.parametrize("seed", range(12))
SCALE = Scale(low=1, high=10, bins=10)
PARAMS = EvaluateParams(
    cutoff=5, positive_class=None, confidence=0.95, prevalence=0.02, specificity=0.9,
    costs=None, partial_auc_below=0.2, score_ranges=3, bootstrap=100,
)  # fmt: skip


def exactly(expected):
    return pytest.approx(expected, **EXACT)


def flags_and_scores(seed):
    """Return positives and scores, with many ties for every other seed."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(5, 400))
    positive = rng.random(count) < rng.uniform(0.05, 0.95)
    positive[:2] = True, False
    score = rng.normal(size=count) + rng.uniform(-0.5, 3) * positive
    return positive, score.round(seed % 2 * 8)


def pairs(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(5, 2, int(rng.integers(3, 300)))
    y = x + rng.normal(0, rng.uniform(0.1, 5), x.size)
    return x.round(seed % 3), y.round(seed % 3)


def weights_of(seed, count):
    """Return how often each image is drawn, and the numbers of the drawn images."""
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count))
    return times[None].astype(float), np.repeat(np.arange(count), times)


def probabilities(seed, count):
    """Return labels and probabilities (n, count), rounded so that some are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count, int(rng.integers(20, 300)))
    labels[:count] = np.arange(count)
    logits = rng.normal(size=(labels.size, count)) + 2 * np.eye(count)[labels]
    raw = np.exp(logits.round(1))
    return labels, raw / raw.sum(axis=1, keepdims=True)


def judged(labels, shares, names):
    """Return the metrics tree of these predictions, all of the test split."""
    keys = [f"{i:04d}" for i in range(labels.size)]
    rows = pd.DataFrame({"key": keys, "split": "test", "split_group": keys})
    table = class_predictions(rows.assign(label=np.array(names, object)[labels]), shares, names)
    model = SavedModel("classification", names, None, 16, "resize", b"")
    return evaluate_predictions(table, model, PARAMS, 17), table


@SEEDS
def test_auc_and_its_partial_kin(seed):
    positive, score = flags_and_scores(seed)
    assert roc.auc(positive, score) == exactly(metrics.roc_auc_score(positive, score))
    weights, drawn = weights_of(seed, score.size)
    again = positive[drawn], score[drawn]
    for below in (0.05, 0.1, 0.33, 1.0):
        expected = metrics.roc_auc_score(positive, score, max_fpr=below)
        assert roc.partial_auc(positive, score, below) == exactly(expected)
        if roc.has_both_classes(again[0]):
            found = roc.weighted_partial_auc(positive, score, below)(weights)[0]
            assert found == exactly(metrics.roc_auc_score(*again, max_fpr=below))


@SEEDS
def test_roc_points(seed):
    positive, score = flags_and_scores(seed)
    rates = roc.weighted_roc(positive, score)(np.ones((1, score.size)))
    across, up, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose([rates[0][0], rates[1][0]], [across, up], rtol=0, atol=1e-9)
    settings = Settings(0.95, 100, None, 17, 0.9, None, 0.1)
    rows = roc_rows("a", BinaryScores(positive, score, np.arange(score.size)), settings)
    across, up, threshold = metrics.roc_curve(positive, score)
    corners = rows[(rows.index == 0) | rows["threshold"].notna()]
    found = corners[["false_positive_rate", "true_positive_rate", "threshold"]].to_numpy()
    expected = np.column_stack([across, up, np.where(np.isfinite(threshold), threshold, np.nan)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    on_lines = np.interp(rows["false_positive_rate"], across, up)
    assert (rows["true_positive_rate"] <= on_lines + 1e-9).all()
    assert (rows["low"] <= rows["high"]).all()
    assert rows["low"].is_monotonic_increasing
    assert rows["high"].is_monotonic_increasing


@SEEDS
def test_thresholds_by_trying_each(seed):
    positive, score = flags_and_scores(seed)
    tried = np.append(np.unique(score), np.nextafter(score.max(), np.inf))[::-1]
    called = score >= tried[:, None]
    hit, left = called[:, positive].mean(axis=1), 1 - called[:, ~positive].mean(axis=1)
    index = metrics.balanced_accuracy_score  # 2 · balanced accuracy − 1 is Youden's index
    gains = np.array([2 * index(positive, score >= t) - 1 for t in tried])

    def gain(threshold):
        return 0 if threshold is None else gains[tried == threshold][0]

    assert gain(thresholds.youden(positive, score)) == exactly(max(gains.max(), 0))
    corner = thresholds.closest_to_corner(positive, score)
    distance = np.hypot(1 - hit, 1 - left)
    if corner is not None:
        assert distance[tried == corner][0] == exactly(distance.min())
    for least in (0.5, 0.9, 0.99):
        expected = tried[left >= least - 1e-9].min()
        assert thresholds.at_specificity(positive, score, least) == expected
    for prevalence in (0.01, 0.5):
        cost = 5 * prevalence * (1 - hit) + 2 * (1 - prevalence) * (1 - left)
        best = thresholds.least_cost(positive, score, 2, 5, prevalence)
        assert cost[tried == best][0] == exactly(cost.min())


@SEEDS
def test_correlations_and_errors(seed):
    x, y = pairs(seed)
    assert agreement.srcc(x, y) == exactly(stats.spearmanr(x, y).statistic)
    assert agreement.plcc(x, y) == exactly(stats.pearsonr(x, y).statistic)
    assert agreement.rmse(x, y) == exactly(metrics.root_mean_squared_error(x, y))


@SEEDS
def test_distances_of_histograms(seed):
    rng = np.random.default_rng(seed)
    bins = int(rng.integers(2, 12))
    one, other = (rng.dirichlet(np.full(bins, 0.5), 40) for _ in range(2))
    grid = np.arange(bins)
    pairs_of = list(zip(one, other, strict=True))
    expected = [stats.wasserstein_distance(grid, grid, p, q) for p, q in pairs_of]
    np.testing.assert_allclose(bins * emd_r1(one, other), expected, rtol=0, atol=1e-9)
    # SciPy's energy distance is the root of twice the integral of the squared difference
    energy = [stats.energy_distance(grid, grid, p, q) for p, q in pairs_of]
    found = np.sqrt(2 * bins) * emd_r2(one, other)
    np.testing.assert_allclose(found, energy, rtol=0, atol=1e-9)


@SEEDS
def test_a_wilson_interval(seed):
    rng = np.random.default_rng(seed)
    total = int(rng.integers(1, 500))
    hits, level = int(rng.integers(0, total + 1)), float(rng.uniform(0.6, 0.999))
    expected = stats.binomtest(hits, total).proportion_ci(level, "wilson")
    assert wilson(hits, total, level)[:2] == exactly(tuple(expected))


@SEEDS
def test_two_classes(seed):
    labels, shares = probabilities(seed, 2)
    tree, table = judged(labels, shares, ("a", "b"))
    called = table["predicted_label"] == "b"
    assert tree["auc"]["value"] == exactly(metrics.roc_auc_score(labels, shares[:, 1]))
    assert tree["partial_auc"]["value"] == exactly(
        metrics.roc_auc_score(labels, shares[:, 1], max_fpr=0.2)
    )
    assert tree["brier"]["value"] == exactly(metrics.brier_score_loss(labels, shares[:, 1]))
    assert tree["accuracy"]["value"] == exactly(metrics.accuracy_score(labels, called))
    found = tree["calibration_error"]["value"]
    assert found == exactly(slow_calibration_error(shares[:, 1], labels == 1))
    assert tree["classes"]["b"]["f1"]["value"] == exactly(metrics.f1_score(labels, called))


@SEEDS
@pytest.mark.parametrize("count", [3, 6])
def test_several_classes(seed, count):
    labels, shares = probabilities(seed, count)
    names = tuple("abcdef"[:count])
    tree, table = judged(labels, shares, names)
    target, called = table["target_label"], table["predicted_label"]
    expected = metrics.roc_auc_score(target, shares, multi_class="ovr", labels=list(names))
    assert tree["auc"]["value"] == exactly(expected)
    expected = metrics.brier_score_loss(target, shares, labels=list(names), scale_by_half=False)
    assert tree["brier"]["value"] == exactly(expected)
    expected = metrics.balanced_accuracy_score(target, called)
    assert tree["balanced_accuracy"]["value"] == exactly(expected)
    right = (target == called).to_numpy()
    expected = slow_calibration_error(shares.max(axis=1), right)
    assert tree["calibration_error"]["value"] == exactly(expected)
    scores = metrics.precision_recall_fscore_support(
        target, called, labels=list(names), zero_division=np.nan
    )
    for position, name in enumerate(names):
        found = tree["classes"][name]
        values = [found[key]["value"] for key in ("ppv", "sensitivity", "f1")]
        for value, theirs in zip(values, scores, strict=False):
            assert (
                value is None if np.isnan(theirs[position]) else value == exactly(theirs[position])
            )
        assert found["n"] == scores[3][position]


@SEEDS
def test_under_weights_the_drawn_images_alone_count(seed):
    labels, shares = probabilities(seed, 3)
    weights, drawn = weights_of(seed, labels.size)
    called = shares.argmax(axis=1)
    found = classification.balanced_accuracy(
        [labels == k for k in range(3)], [called == k for k in range(3)]
    )(weights)[0]
    assert found == exactly(metrics.balanced_accuracy_score(labels[drawn], called[drawn]))
    found = classification.f1(labels == 1, called == 1)(weights)[0]
    expected = metrics.f1_score(labels[drawn] == 1, called[drawn] == 1, zero_division=np.nan)
    assert found == pytest.approx(expected, nan_ok=True, **EXACT)


def slow_calibration_error(probability, right):
    bins = calibration.equal_mass_bins(probability)
    error = 0.0
    for b in set(bins.tolist()):
        inside = [i for i in range(len(right)) if bins[i] == b]
        confidence = sum(probability[i] for i in inside) / len(inside)
        accuracy = sum(bool(right[i]) for i in inside) / len(inside)
        error += len(inside) / len(right) * abs(confidence - accuracy)
    return error


@SEEDS
def test_bins_are_of_equal_mass_and_keep_ties_together(seed):
    probability = np.random.default_rng(seed).random(200).round(3 * (seed % 4) + 1)
    bins = calibration.equal_mass_bins(probability)
    order = np.argsort(probability, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert all(len(set(bins[probability == value])) == 1 for value in probability)
    if np.unique(probability).size == 200:
        assert set(np.bincount(bins)) == {20}
    rows = calibration.reliability_of_probabilities(
        "a", probability, probability > 0.5, np.arange(200), 0.95
    )
    true, predicted = (rows[name].to_numpy() for name in ("observed", "predicted"))
    edges = [probability[bins == b].min() for b in range(bins.max() + 1)]
    theirs = [probability[bins == b].mean() for b in range(len(edges))]
    np.testing.assert_allclose(predicted, theirs, rtol=0, atol=1e-9)
    assert ((rows["low"] <= true) & (true <= rows["high"])).all()


@SEEDS
def test_ratings(seed):
    rng = np.random.default_rng(seed)
    votes = rng.multinomial(30, rng.dirichlet(np.ones(10)), size=120)
    shares = rng.dirichlet(np.ones(10), 120)
    keys = [f"{i:03d}" for i in range(120)]
    rows = pd.DataFrame({"key": keys, "split": "test", "split_group": keys, "mean": np.nan})
    rows = rows.assign(ratings=votes.tolist(), std=np.nan)
    table = rating_predictions(rows, shares, SCALE)
    tree = evaluate_predictions(
        table, SavedModel("rating", (), SCALE, 16, "resize", b""), PARAMS, 17
    )
    scores = np.arange(1, 11)
    true = votes / 30
    spread = [np.sqrt(np.cov(scores, aweights=p, ddof=0)) for p in shares]
    target = table["target_std"].to_numpy()
    np.testing.assert_allclose(table["predicted_std"], spread, rtol=0, atol=1e-9)
    expected = [np.repeat(scores, v).std() for v in votes]
    np.testing.assert_allclose(target, expected, rtol=0, atol=1e-9)
    assert tree["std_srcc"]["value"] == exactly(stats.spearmanr(target, spread).statistic)
    assert tree["std_plcc"]["value"] == exactly(stats.pearsonr(target, spread).statistic)
    distance = [
        stats.wasserstein_distance(scores, scores, p, q) for p, q in zip(true, shares, strict=True)
    ]
    assert tree["emd_r1"]["value"] == exactly(np.mean(distance) / 10)
    np.testing.assert_allclose(table["target_mean"], votes @ scores / 30, rtol=0, atol=1e-9)
    mean, predicted = table["target_mean"], table["predicted_mean"]
    for low, high in ((1, 4), (4, 7), (7, 10)):
        inside = (mean >= low) & ((mean < high) | (high == 10))
        found, pair = tree["ranges"][f"{low}_to_{high}"], (mean[inside], predicted[inside])
        assert found["n"] == inside.sum()
        if found["n"] > 2:
            assert found["rmse"]["value"] == exactly(metrics.root_mean_squared_error(*pair))
            assert found["mae"]["value"] == exactly(metrics.mean_absolute_error(*pair))
            assert found["bias"]["value"] == exactly((pair[1] - pair[0]).mean())
            assert found["srcc"]["value"] == exactly(stats.spearmanr(*pair).statistic)


def point_of(sensitivity, specificity):
    """Return an operating point with these rates, known from 100 images each."""
    return {
        name: {"value": value, "method": "Wilson",
               "ci95": dict(zip(("low", "high"), wilson(100 * value, 100, 0.95)[:2], strict=True))}
        for name, value in (("sensitivity", sensitivity), ("specificity", specificity))
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "prevalence", "ppv", "npv"),
    [
        # Altman and Bland 1994, BMJ 309:102: 231 of 258 and 54 of 86 scans right; at the study's
        # prevalence of 258 / 344 the counts' own predictive values, 231 / 263 and 54 / 81
        pytest.param(231 / 258, 54 / 86, 258 / 344, 231 / 263, 54 / 81, id="liver scans"),
        # the same scans where a quarter has a disease: 0.45 and 0.95 by their formulas
        pytest.param(231 / 258, 54 / 86, 0.25, 77 / 173, 162 / 171, id="a quarter"),
        # Eddy 1982, in Judgment under Uncertainty, p. 253: mammograms, 1 % with cancer
        pytest.param(0.792, 0.904, 0.01, 0.00792 / 0.10296, 0.89496 / 0.89704, id="mammograms"),
    ],
)
def test_predictive_values_as_published(sensitivity, specificity, prevalence, ppv, npv):
    found = at_prevalence(point_of(sensitivity, specificity), prevalence, 0.95)
    assert found["ppv"]["value"] == exactly(ppv)
    assert found["npv"]["value"] == exactly(npv)
    for value in (found["ppv"], found["npv"]):
        assert value["ci95"]["low"] < value["value"] < value["ci95"]["high"]


@SEEDS
def test_a_point_is_what_its_confusion_matrix_says(seed):
    positive, score = flags_and_scores(seed)
    held, held_score = flags_and_scores(seed + 100)
    groups = np.arange(score.size)
    settings = Settings(0.95, 100, 0.02, 17, 0.9, (1.0, 5.0), 0.1)
    tree = operating_points(
        BinaryScores(positive, score, groups),
        BinaryScores(held, held_score, np.arange(held.size)),
        None,
        settings,
    )
    assert sorted(tree) == ["closest_to_corner", "least_cost", "specificity_90", "youden"]
    for point in tree.values():
        matrix = metrics.confusion_matrix(positive, score >= point["threshold"])
        (right_out, false_in), (missed, hit) = matrix
        shares = {
            "sensitivity": (hit, hit + missed),
            "specificity": (right_out, right_out + false_in),
            "ppv": (hit, hit + false_in),
            "npv": (right_out, right_out + missed),
            "accuracy": (hit + right_out, score.size),
        }
        for name, (part, whole) in shares.items():
            if not whole:
                assert (point[name]["value"], point[name]["note"]) == (None, "no images")
                continue
            ends = stats.binomtest(int(part), int(whole)).proportion_ci(0.95, "wilson")
            assert point[name]["value"] == exactly(part / whole)
            assert point[name]["ci95"]["low"] == exactly(ends.low)
            assert point[name]["ci95"]["high"] == exactly(ends.high)
        hits, alarms = 0.02 * hit / (hit + missed), 0.98 * false_in / (right_out + false_in)
        expected = hits / (hits + alarms) if hits + alarms else None
        found = point["at_prevalence"]["ppv"]["value"]
        assert found is None if expected is None else found == exactly(expected)
