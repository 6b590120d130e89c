import re

from tests.report.data_set import (
    ROC,
    DataSet,
    build,
    evaluated,
    full,
    metric,
    section,
    shared,
    text_of,
)


def test_results_come_with_intervals_method_and_warnings():
    html = shared(full).page
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


def with_curves_of_classes(task) -> DataSet:
    """Five classes; the names of three look like a number or like nothing."""
    data = full(task)
    names = ("01", "NA", "None", "d", "e")
    rows = [f"{name},{x},{y},\n" for name in names for x, y in [(0, 0), (0.1, 0.7), (1, 1)]]
    data.plots["evaluate/roc.csv"] = ROC + "".join(rows)
    classes = {name: {"n": 3, "auc": {"value": 0.7}} for name in ("a", "no%2E1")}
    data.metrics["evaluate"]["classes"] = classes
    return data


def test_several_classes_have_a_curve_and_metrics_each():
    html = shared(with_curves_of_classes, "classification").page
    lines = 2 + 1 + 5 + 1 + 3  # training, chance, classes; square images, tones
    assert html.count("<polyline") == lines
    assert "no.1 3 0.700" in text_of(html)
    assert "bands are in" not in text_of(html)  # there are none


def test_classes_keep_names_that_look_like_numbers_or_nothing():
    test = section(shared(with_curves_of_classes, "classification").page, "test")
    assert "01 NA None d e Dashed: chance." in text_of(test)


def test_of_several_curves_it_says_where_their_bands_are(tmp_path):
    data = evaluated("classification")
    rows = data.plots["evaluate/roc.csv"]
    data.plots["evaluate/roc.csv"] = rows + rows.partition("\n")[2].replace("p,", "q,")
    test = section(build(tmp_path, data).page, "test")
    assert "The curves' 95 % bands are in metrics/plots/evaluate/roc.csv" in text_of(test)
    roc = test[test.index('aria-label="ROC curve') :].split("</svg>")[0]
    assert "<polygon" not in roc


def test_operating_points_are_tabled_and_marked_on_the_curve():
    html = shared(evaluated, prevalence=0.01).page
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


def test_predictive_values_are_drawn_over_prevalence():
    test = section(shared(evaluated, prevalence=0.01).page, "test")
    titles = re.findall(r'aria-label="Predictive values over prevalence, ([^"]*)"', test)
    assert titles == ["1. closest to the corner, 2. Youden&#39;s index", "3. specificity 99.5 %"]
    charts = [part.split("</svg>")[0] for part in test.split("Predictive values over")[1:]]
    assert all(chart.count('<line class="limit"') == 1 for chart in charts)  # of deployment
    assert all(chart.count('<line class="chance"') == 1 for chart in charts)  # of the test split
    assert "own share, 40.0 %" in text_of(test)
    assert "Shaded: 95 % intervals (MOVER-R of the likelihood ratio)" in text_of(test)
    without = section(shared(evaluated, prevalence=None).page, "test")
    assert '<line class="limit"' not in without
    assert "set evaluate.prevalence" in text_of(without)


def test_ranges_of_scores_are_tabled_from_low_to_high():
    test = section(shared(evaluated).page, "test")
    text = text_of(test)
    assert "1 to 4.5 3 1.000 0.500 to 1.500 0.500 7 to 10 30 2.000 1.500 to 2.500 −1.500" in text
    assert 'aria-label="Bias by range of the true mean score"' in test
    assert test.count('class="whisker"') == 3 * 3  # two bins, one range; three lines each


def test_classes_are_tabled_with_calibration_beside_them():
    html = shared(evaluated, "classification").page
    text = text_of(section(html, "test"))
    assert "Positive is the class dog." in text
    assert "cat 60 0.900 0.800 0.700 dog 4 0.900 0.500 0.400" in text
    assert "Brier score 0.100 (0.050 to 0.200) calibration error 0.080" in text
    assert "Whiskers: 95 % intervals (Wilson, at the effective sample size" in text


def test_of_very_many_classes_the_worst_are_tabled(tmp_path):
    data = evaluated("classification")
    data.metrics["evaluate"]["classes"] = {
        f"class {n:02d}": {"n": 50, "f1": metric(1 - n / 100)} for n in range(60)
    }
    html = build(tmp_path, data).page
    text = text_of(section(html, "test"))
    assert "the 40 with the lowest F1; 20 more" in text
    assert "Class Images F1 class 59 50 0.410 class 58" in text
    assert "class 19" not in text


def test_outlier_scores_are_drawn_with_the_thresholds():
    html = shared(evaluated, "one_class").page
    test = section(html, "test")
    assert "Positive is an outlier: any label but good." in text_of(test)
    chart = test[test.index("Outlier scores of normal images and of outliers") :].split("</svg>")[0]
    assert chart.count("<polyline") == 2
    assert chart.count('class="chance"') == 2  # 0.4 twice; 0.7 lies outside
    assert re.findall(r'class="note"[^>]*>([^<]*)<', chart) == ["1, 2"]
