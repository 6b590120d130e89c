import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from darkroom.comparison.differences import assign_verdicts, compare
from darkroom.comparison.pairs import pair
from tests.comparison.revisions import (
    COUNT,
    KEYS,
    SCORES,
    compared,
    labelled,
    outlying,
    ratings,
    revision,
    revisions,
)


def test_another_cutoff_is_heads_for_both():
    base, head = revision(ratings(1)), revision(ratings(1), "two", cutoff=7.0)
    both = pair(base, head)
    assert both.notes == ["the cutoffs differ: both are evaluated at 7, that of HEAD"]
    assert all(d.value == 0 for d in compare(base, head, both).differences)


def test_other_bins_leave_out_emd():
    five = {"low": 1.0, "high": 10.0, "bins": 5}
    base, head = revision(ratings(1), scale=five), revision(ratings(1), "two")
    both = pair(base, head)
    assert both.notes == ["5 and 10 score bins: without EMD"]
    found = [d.metric for d in compare(base, head, both).differences]
    assert found == ["srcc", "plcc", "rmse", "auc", "accuracy"]


def test_another_scale_leaves_out_what_is_in_its_units():
    share = {"low": 0.0, "high": 1.0, "bins": 10}
    rescaled = ratings(1)
    rescaled[["target_mean", "predicted_mean"]] = rescaled[["target_mean", "predicted_mean"]] / 10
    base, head = revision(rescaled, scale=share, cutoff=0.5), revision(ratings(1), "two")
    both = pair(base, head)
    assert "the scales differ, 0 to 1 and 1 to 10: without RMSE, EMD and accuracy" in both.notes[0]
    found = {d.metric: d.value for d in compare(base, head, both).differences}
    assert found == {"srcc": pytest.approx(0), "plcc": pytest.approx(0), "auc": 0}


def test_ratings_known_by_their_mean_alone_have_no_emd():
    unknown = ratings(1, **{f"target_bin_{k}": np.nan for k in SCORES})
    assert list(compared(unknown, unknown)) == ["srcc", "plcc", "rmse", "auc", "accuracy"]


def test_labels_that_changed_are_counted_and_heads_count():
    base, head = labelled(7), labelled(7)
    head.loc[:4, "target_label"] = ["dog", "dog", "dog", "cat", "dog"]
    both = pair(*revisions(base, head))
    assert both.relabelled == 4
    assert both.base["target_label"].tolist() == head["target_label"].tolist()
    assert all(d.value == 0 for d in compared(base, head).values())


def test_one_class_of_images_leaves_auc_undefined_and_the_rest_defined():
    low = ratings(1, KEYS)
    found = compared(low, low, cutoff=11.0)
    assert (found["auc"].value, found["auc"].verdict) == (None, "undefined")
    assert found["srcc"].verdict == "no difference shown"


def test_a_class_without_test_images_leaves_the_macro_auc_undefined():
    names = ("cat", "dog", "fox")
    base, head = labelled(20, names), labelled(3, names)
    for rows in (base, head):
        rows["target_label"] = rows["target_label"].replace("fox", "cat")
    found = compared(base, head)
    assert (found["auc"].value, found["auc"].p, found["auc"].verdict) == (None, None, "undefined")
    assert found["accuracy"].verdict == "worse"


def test_a_label_that_no_model_knows_counts_as_an_error():
    base, head = labelled(60), labelled(60)
    for rows in (base, head):
        rows.loc[1, "target_label"] = "fox"
    found = compared(base, head, positive_class="dog")
    assert found["accuracy"].base == pytest.approx(58 / 60)


def expected_ratings(test):
    target, predicted = test["target_mean"], test["predicted_mean"]
    bins, true = (test[[f"{n}_{k}" for k in SCORES]].to_numpy() for n in ("bin", "target_bin"))
    gap = np.cumsum(bins - true, axis=1)
    moved = [stats.wasserstein_distance(SCORES, SCORES, *pair) for pair in zip(bins, true)]  # noqa: B905
    return {
        "srcc": stats.spearmanr(target, predicted).statistic,
        "plcc": stats.pearsonr(target, predicted).statistic,
        "rmse": metrics.root_mean_squared_error(target, predicted),
        "emd_r1": np.mean(moved) / 10,
        "emd_r2": np.sqrt((gap**2).mean(axis=1)).mean(),
        "auc": metrics.roc_auc_score(target > 5, predicted),
        "accuracy": metrics.accuracy_score(target > 5, predicted > 5),
    }


@pytest.mark.parametrize("groups", [None, [f"g{n // 2}" for n in range(COUNT)]])
def test_every_difference_of_ratings_is_known(groups):
    base, head = ratings(0.8, groups=groups), ratings(1.5, groups=groups, seed=4)
    before, after = expected_ratings(base), expected_ratings(head)
    found = compared(base, head)
    assert list(found) == list(before)
    for name, d in found.items():
        assert (d.base, d.head) == pytest.approx((before[name], after[name]), abs=1e-9)
        assert d.interval.low <= d.value <= d.interval.high
    if groups is None:
        right = [(f["predicted_mean"] > 5) == (f["target_mean"] > 5) for f in (base, head)]
        lost, won = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
        assert found["accuracy"].p == stats.binomtest(won, won + lost).pvalue
        assert found["auc"].interval.method == "paired DeLong"
    else:
        assert {d.interval.method for d in found.values()} == {"paired cluster bootstrap, BCa"}


def expected_classes(test, names, positive):
    target = test["target_label"].to_numpy(object)
    chances = test[[f"probability_{name}" for name in names]].to_numpy()
    hot = target[:, None] == np.array(names, object)
    if positive:
        area = metrics.roc_auc_score(target == positive, test[f"probability_{positive}"])
    else:
        area = metrics.roc_auc_score(target, chances, multi_class="ovr", labels=names)
    return {
        "accuracy": (test["predicted_label"] == target).mean(),
        "auc": area,
        "brier": ((chances - hot) ** 2).sum(axis=1).mean() / (2 if len(names) == 2 else 1),
    }


@pytest.mark.parametrize(
    ("names", "positive"), [(("cat", "dog"), "dog"), (("cat", "dog", "fox"), None)]
)
def test_every_difference_of_classes_is_known(names, positive):
    base, head = labelled(11, names), labelled(3, names)
    before, after = (expected_classes(test, names, positive) for test in (base, head))
    found = compared(base, head, positive_class=positive)
    assert list(found) == list(before)
    for name, d in found.items():
        assert (d.base, d.head) == pytest.approx((before[name], after[name]), abs=1e-9)
        assert d.verdict == "worse"


def test_outliers_are_the_positives_of_one_class():
    base, head = outlying(0.3), outlying(3.0)
    found = compared(base, head)
    assert list(found) == ["auc"]
    area = metrics.roc_auc_score(head["target_label"] != "fine", head["outlier_score"])
    assert found["auc"].head == pytest.approx(area, abs=1e-12)
    assert found["auc"].verdict == "worse"


@pytest.mark.parametrize(
    ("test", "positive", "main"),
    [
        (ratings(1), None, "srcc"),
        (labelled(5), "dog", "auc"),
        (labelled(5, ("cat", "dog", "fox")), None, "accuracy"),
        (outlying(1), None, "auc"),
    ],
)
def test_the_main_metric_of_each_task(test, positive, main):
    base, head = (revision(test, name, positive_class=positive) for name in ("one", "two"))
    assert compare(base, head, pair(base, head)).main == main


@settings(max_examples=8)
@given(
    noise=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
    together=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_swapping_base_and_head_mirrors_everything(noise, together, seed):
    groups = [f"g{number // together}" for number in range(COUNT)]
    base, head = (ratings(n, groups=groups, seed=seed + k) for k, n in enumerate(noise))
    there, back = compared(base, head), compared(head, base)
    mirrored = {"better": "worse", "worse": "better"}
    for name, d in there.items():
        other = back[name]
        assert d.value == -other.value
        assert d.p == pytest.approx(other.p, abs=1e-9)
        if d.interval.low is None:
            assert other.interval.low is None
        else:
            ends = -other.interval.high, -other.interval.low
            assert d.interval[:2] == pytest.approx(ends, abs=1e-9)
        assert mirrored.get(d.verdict, d.verdict) == other.verdict


@settings(max_examples=8)
@given(noise=st.floats(0.1, 3), together=st.integers(1, 5))
def test_a_model_is_neither_better_nor_worse_than_itself(noise, together):
    groups = [f"g{number // together}" for number in range(COUNT)]
    for test in (ratings(noise, groups=groups), labelled(together + 2, groups=groups)):
        for d in compared(test, test, positive_class=None).values():
            assert (d.value, d.p, d.verdict) == (0, 1, "no difference shown")


def test_holm_decides_over_all_metrics():
    base, head = ratings(0.8), ratings(1.1, seed=4)
    found = list(compared(base, head).values())
    raw = [d._replace(p=0.04) for d in found]
    assert {d.verdict for d in assign_verdicts(raw, 0.95)} == {"no difference shown"}
    assert [d.p_holm for d in assign_verdicts(raw, 0.95)] == pytest.approx([0.28] * 7)
    alone = assign_verdicts(raw[:1], 0.95)
    assert alone[0].verdict == "worse"


@pytest.mark.parametrize("metric", ["rmse", "emd_r1", "emd_r2", "brier", "srcc", "auc", "accuracy"])
def test_the_direction_of_each_metric(metric):
    found = {**compared(ratings(0.3), ratings(2.5)), **compared(labelled(30), labelled(2))}
    lower = metric in {"rmse", "emd_r1", "emd_r2", "brier"}
    assert (found[metric].value > 0) == lower
    assert found[metric].verdict == "worse"
