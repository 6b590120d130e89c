import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

from darkroom.evaluation.predictions import evaluate_predictions, rating_predictions
from darkroom.models.saved import SavedModel
from tests.evaluation.samples import (
    PARAMS,
    SCALE,
    SEEDS,
    exactly,
)


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
