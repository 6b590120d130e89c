"""What models of one class reach on one actor's face against random scenes, all methods.

    python -m benchmarks.one_class DATA [--work FOLDER] [--seed N] [--inside-train]

DATA holds folders that are not part of this repository: `cage`, {train,test}/{class0,class1}/, one
actor's face (class1, the normal class) against random scenes (class0, the outliers); `photos`,
*.tar and `sources.csv` (key, collection), of which `REFERENCE_IMAGES` of each collection in
`REFERENCE` are the reference classes of `deep`; and `keras`, the ImageNet weights.

Both sources go through the stages from scan to split, so that copies of test images are out of
train, and reference images that copy one of `cage` are seen. Each method is then trained and
evaluated by the stages. Images of the reference classes are left out of every evaluation, so that
all methods are evaluated on the same images.

No setting was chosen on the test part. The methods' own (the SVM's nu, the covariance's shrinkage,
the forest's trees, lambda of `deep`, one neighbour) are their authors', scikit-learn's or usual
ones; that the SVM takes features as given, not standardised, was chosen inside train.
`--inside-train` shows what else was weighed, by AUC over five folds of the training images:
fitted on normal images of four, tested on the normal ones of the fifth and all outliers of train.
So the cells with whose error an autoencoder's is compared were chosen, among the lines that start
with `error`.
"""

import argparse
import json
import logging
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.public import with_training
from darkroom.core.files import MetricTree, write_text
from darkroom.core.params.load import FILE, load_params
from darkroom.core.params.train import TrainParams
from darkroom.core.params.whole import Params
from darkroom.core.yaml import read_yaml
from darkroom.evaluation.roc import auc
from stages import augment, clean, dedupe, download, embed, evaluate, scan, split, train

REPOSITORY = Path(__file__).parents[1]
PREPARATION = (scan, download, clean, embed, dedupe, split, augment)
NORMAL = "class1"
REFERENCE = ("bsds", "caltech101", "pacs-art", "pets", "trash")
REFERENCE_IMAGES = 80  # of each collection: the first by key, which is a digest

MOBILENET = {"backbone": "MobileNetV2", "alpha": 0.35, "weights": "imagenet", "image_size": 224}
BUNDLED = {"backbone": "bundled", "alpha": None, "weights": None, "image_size": 128}
DEEP = {
    "outlier_method": "deep", "epochs": {"head": 10, "fine_tune": 5},
    "learning_rate": {"head": 0.001, "fine_tune": 0.0001},
}  # fmt: skip
AUTOENCODER = "autoencoder, 64 px"
FROZEN = ("mahalanobis", "svm", "isolation_forest")
BACKBONES = {"MobileNetV2 0.35": MOBILENET, "bundled": BUNDLED}
RUNS: dict[str, dict[str, Any]] = {
    f"{method}, {name}": backbone | (DEEP if method == "deep" else {"outlier_method": method})
    for method in (*FROZEN, "deep")
    for name, backbone in BACKBONES.items()
} | {
    AUTOENCODER: {
        "outlier_method": "autoencoder", "backbone": "small", "weights": None, "alpha": None,
        "image_size": 64, "batch_size": 16, "epochs": {"head": 0, "fine_tune": 100},
        "learning_rate": {"head": 0.001, "fine_tune": 0.002},
    }
}  # fmt: skip


def extract_reference(photos: Path, folder: Path) -> None:
    """Write the reference images as folder/<collection>/<member>."""
    sources = pd.read_csv(photos / "sources.csv").sort_values("key")
    first = sources[sources["collection"].isin(REFERENCE)].groupby("collection")
    wanted = dict(first.head(REFERENCE_IMAGES)[["key", "collection"]].itertuples(index=False))
    for path in sorted(photos.glob("*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                collection = wanted.get(Path(member.name).stem)
                if collection and (content := shard.extractfile(member)):
                    target = folder / collection / Path(member.name).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content.read())


def write_settings(root: Path, data: Path, reference: Path, seed: int) -> None:
    """Write params.yaml: the repository's, with both sources and the task."""
    values = read_yaml(REPOSITORY / FILE)
    values["seed"] = seed
    values["download"]["sources"] = [
        {"kind": "folder", "path": str(data / "cage"), "label_from": "parent",
         "split_from": "grandparent"},
        {"kind": "folder", "path": str(reference), "label_from": "parent"},
    ]  # fmt: skip
    values["augment"]["target"] = 0
    values["split"]["validation"] = 0.2
    values["train"] |= {
        "task": "one_class", "normal_class": NORMAL, "reference_classes": list(REFERENCE),
        **MOBILENET,
    }  # fmt: skip
    write_text(root / FILE, json.dumps(values))  # JSON is YAML, too


def evaluate_run(root: Path, params: Params) -> MetricTree:
    """Train and evaluate by the stages; return the metrics."""
    train.run(root, params)
    evaluate.run(root, params)
    return dict(json.loads((root / evaluate.METRICS).read_text()))


def as_row(name: str, tree: MetricTree, seconds: float) -> str:
    """Return a line of the table."""
    chosen = [tree["operating_points"][point] for point in ("youden", "specificity_90")]
    cells = [tree["auc"], *(p[rate] for p in chosen for rate in ("sensitivity", "specificity"))]
    return f"{name:30s}{''.join(f'{_shown(cell):>23s}' for cell in cells)}{seconds:7.0f} s"


def _shown(metric: MetricTree) -> str:
    ends = metric["ci95"]
    return f"{metric['value']:.3f} ({ends['low']:.3f}, {ends['high']:.3f})"


def weigh_inside_train(root: Path, params: Params) -> Iterator[tuple[str, float]]:
    """Yield the AUC, out of fold, of each alternative on each backbone's features."""
    from darkroom.models.backbones import build_backbone
    from darkroom.models.stored_images import StoredImages
    from darkroom.models.training.examples import read_rows
    from darkroom.models.training.features import extract_features

    rows = read_rows(root, "one_class")
    held = rows[(rows["split"] == "validation") & (rows["label"] == NORMAL)]
    rows = rows[(rows["split"] == "train") & rows["label"].isin([NORMAL, "class0"])]
    normal = (rows["label"] == NORMAL).to_numpy(bool)
    chosen = with_training(params, RUNS[AUTOENCODER], params.seed).train
    stored = StoredImages(root, rows, max_pixels=10**8), StoredImages(root, held, max_pixels=10**8)
    for alternative, value in _errors_out_of_fold(*stored, normal, chosen, params.seed).items():
        yield f"{alternative}, {AUTOENCODER}", value
    for name, settings in BACKBONES.items():
        chosen = with_training(params, settings, params.seed).train
        images = StoredImages(root, rows, max_pixels=10**8)
        features = extract_features(build_backbone(chosen), images, chosen.image_size).astype(
            np.float64
        )
        for alternative, fit in _alternatives().items():
            yield f"{alternative}, {name}", _out_of_fold(features, normal, fit, params.seed)


def _errors_out_of_fold(
    images: Any, held: Any, normal: NDArray[np.bool_], params: TrainParams, seed: int
) -> dict[str, float]:
    """Return the AUC of an autoencoder's squared error, and of it over other errors.

    `held` are normal images of validation, by which each fold's training is stopped.
    """
    import keras

    from darkroom.models.one_class.fit import Subset, fit_one_class
    from darkroom.models.training.examples import Examples
    from darkroom.models.training.features import inference_views

    found: dict[str, list[float]] = {}
    for known, tested in _folds(normal, seed):
        parts = (Subset(images, known), held)
        ones = (Examples(part, np.ones((len(part), 1), np.float32)) for part in parts)
        model = fit_one_class(*ones, params, seed).model
        last = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][-1]
        view = inference_views(Subset(images, tested), params.image_size, "resize")
        given = np.concatenate([view(i) for i in range(len(tested))]).astype(np.float32)
        made = keras.Model(model.input, last.output).predict(given, verbose=0)
        error, shown = np.square(made - given / 255).mean(axis=(1, 2, 3)), given / 255
        over = {"error": np.ones(len(error)), "error over variance": shown.var(axis=(1, 2, 3))}
        for px in (4, 8, 16):
            copy = np.stack([_in_cells(each, px) for each in shown])
            over[f"error over that of cells of {px} px"] = np.square(copy - shown).mean((1, 2, 3))
        for name, other in over.items():
            found.setdefault(name, []).append(auc(~normal[tested], error / (other + 1e-3)) or 0.0)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _in_cells(image: NDArray[np.float32], px: int) -> NDArray[np.float32]:
    side = image.shape[0]
    cells = cv2.resize(image, (side // px, side // px), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(cells, (side, side), interpolation=cv2.INTER_LINEAR))


Fit = Callable[[NDArray[np.float64]], Callable[[NDArray[np.float64]], NDArray[np.float64]]]


def _alternatives() -> dict[str, Fit]:
    from sklearn.base import clone
    from sklearn.covariance import OAS, LedoitWolf
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import NearestNeighbors
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler
    from sklearn.svm import OneClassSVM

    def of(model: Any, score: str) -> Fit:
        def fit(normal: NDArray[np.float64]) -> Any:
            fitted = clone(model).fit(normal)
            return lambda rows: -getattr(fitted, score)(rows)

        return fit

    def svm(nu: float, *steps: Any) -> Fit:
        return of(make_pipeline(*steps, OneClassSVM(gamma="scale", nu=nu)), "decision_function")

    def forest(*steps: Any) -> Fit:
        return of(
            make_pipeline(*steps, IsolationForest(n_estimators=200, random_state=0)),
            "score_samples",
        )

    def distance(covariance: Any, *steps: Any) -> Fit:
        def fit(normal: NDArray[np.float64]) -> Any:
            first = make_pipeline(*steps, "passthrough").fit(normal)
            model = covariance.fit(first.transform(normal))
            return lambda rows: model.mahalanobis(first.transform(rows))

        return fit

    def nearest(count: int) -> Fit:
        model = make_pipeline(Normalizer(), NearestNeighbors(n_neighbors=count))

        def fit(normal: NDArray[np.float64]) -> Any:
            fitted = model.fit(normal)
            return lambda rows: fitted[1].kneighbors(fitted[0].transform(rows))[0].mean(axis=1)

        return fit

    found: dict[str, Fit] = {f"svm nu {nu}": svm(nu) for nu in (0.05, 0.1, 0.5)}
    return found | {
        "svm standardised": svm(0.1, StandardScaler()),
        "svm PCA 32": svm(0.1, StandardScaler(), PCA(32, random_state=0)),
        "mahalanobis Ledoit-Wolf": distance(LedoitWolf()),
        "mahalanobis OAS": distance(OAS()),
        "mahalanobis unit length": distance(LedoitWolf(), Normalizer()),
        "forest": forest(),
        "forest PCA 32": forest(PCA(32, whiten=True, random_state=0)),
        "nearest 1, unit length": nearest(1),
        "nearest 5, unit length": nearest(5),
    }


def _out_of_fold(
    features: NDArray[np.float64], normal: NDArray[np.bool_], fit: Fit, seed: int
) -> float:
    values = []
    for known, tested in _folds(normal, seed):
        score = fit(features[known])
        values.append(auc(~normal[tested], score(features[tested])) or 0.0)
    return float(np.mean(values))


def _folds(
    normal: NDArray[np.bool_], seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the normal images of four folds; and those of the fifth, with all outliers."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(normal))
    for fold in np.array_split(order, 5):
        yield np.setdiff1d(order, fold), np.concatenate([fold, np.flatnonzero(~normal)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=None, help="keeps the stages' work")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--only", default="", help="runs whose name begins so")
    parser.add_argument("--inside-train", action="store_true")
    given = parser.parse_args()
    data = given.data.resolve()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_HOME", str(data / "keras"))
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        root = (given.work or Path(temporary)).resolve()
        if not (root / "reference").exists():
            extract_reference(data / "photos", root / "reference")
        write_settings(root, data, root / "reference", given.seed)
        params = load_params(root, Params)
        for stage in PREPARATION:
            stage.run(root, params)
        leaks = json.loads((root / dedupe.METRICS).read_text())["leaks"]
        print(f"leaking files that were rejected: {leaks}")
        if given.inside_train:
            for name, value in weigh_inside_train(root, params):
                print(f"{name:55s}{value:.4f}", flush=True)
            return
        chosen = ("sensitivity", "specificity") * 2
        print(f"{'':30s}{''.join(f'{word:>23s}' for word in ('AUC', *chosen))}")
        for name, settings in RUNS.items():
            if not name.startswith(given.only):
                continue
            started = time.perf_counter()
            tree = evaluate_run(root, with_training(params, settings, params.seed))
            print(as_row(name, tree, time.perf_counter() - started), flush=True)
        print(f"{tree['n']} test images, {tree['positives']} of them outliers", end="")
        print(f", {tree['reference_images_left_out']} of reference classes left out")


if __name__ == "__main__":
    main()
