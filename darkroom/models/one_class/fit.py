"""Fit a model of one class: what outlier scores are made of, and the scorer.

`mahalanobis`, `svm` and `isolation_forest` read the pooled features of a backbone that is left as
it is. `autoencoder` learns to reconstruct normal images. `deep` fine-tunes the backbone so that
normal images lie close together while a reference set stays told apart (Perera and Patel 2019,
arXiv 1801.05365). The phases are those of `fitting.py`, with their checkpoints.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.params.train import TrainParams
from darkroom.core.randomness import generator
from darkroom.images.decode import Pixels
from darkroom.labels.normal_class import name_labels
from darkroom.models import inputs
from darkroom.models.backbones import Backbone, build_backbone, freeze_below
from darkroom.models.heads import build_head
from darkroom.models.losses import cross_entropy, one_class_loss
from darkroom.models.one_class.autoencoder import build_autoencoder
from darkroom.models.one_class.fit_scorers import fit_scorer
from darkroom.models.training.augmentation_layers import build_augmenter
from darkroom.models.training.checkpoints import Checkpoint, Progress
from darkroom.models.training.features import extract, random_looks, viewer
from darkroom.models.training.fit import Examples, Fitted, doubt_rate, fingerprint, in_precision
from darkroom.models.training.live import Watch, unwatched
from darkroom.models.training.phases import Batch, Phase, run_phase, shuffled_batches
from darkroom.models.training.steps import (
    is_mixed,
    on_all_devices,
    predictor,
    rebuild,
    start_tensorflow,
)

if TYPE_CHECKING:
    import keras

Images = Sequence[Pixels]


class Some(Sequence[Pixels]):
    """Some of the images, read when asked for."""

    def __init__(self, images: Images, positions: NDArray[np.int64]) -> None:
        """Take the images at these positions."""
        self._images, self._positions = images, positions

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._positions)

    def __getitem__(self, position: Any) -> Any:
        """Read one image."""
        return self._images[int(self._positions[position])]


class Normal(NamedTuple):
    """The images of the normal class."""

    train: Images
    validation: Images


class Reference(NamedTuple):
    """The images of the reference classes, with their classes as targets (n, classes)."""

    train: Examples
    validation: Examples


def learnt_classes(params: TrainParams) -> tuple[str, ...]:
    """Return the labels that are learnt from: the normal one, and for `deep` the reference ones."""
    deep = params.outlier_method == "deep"
    return (str(params.normal_class), *(sorted(set(params.reference_classes)) if deep else ()))


def learnt_rows(rows: pd.DataFrame, params: TrainParams) -> pd.DataFrame:
    """Return the rows whose `label` is learnt from. Raises UserError for a label that no row has.

    All others are outliers, or not asked for, and nobody looks at them before the evaluation.
    """
    wanted = learnt_classes(params)
    for setting, names in (("normal_class", wanted[:1]), ("reference_classes", wanted[1:])):
        absent = sorted(set(names) - set(rows["label"]))
        if absent:
            raise UserError(
                f"params.yaml: train.{setting}: expected labels of train or validation images,"
                f" {name_labels(rows['label'])}; got {', '.join(map(repr, absent))}"
            )
    return rows[rows["label"].isin(wanted)].reset_index(drop=True)


def fit_one_class(
    train: Examples, validation: Examples, params: TrainParams, seed: int,
    scratch: Path | None = None, data_digest: str = "", watch: Watch = unwatched,
) -> Fitted:  # fmt: skip
    """Fit network and scorer of `params.outlier_method`; resume from `scratch` as `fit_model` does.

    Targets are one-hot over `learnt_classes`. Raises UserError where nothing can be learnt.
    """
    normal = Normal(*(Some(part.images, _rows(part, True)) for part in (train, validation)))
    check_normal(normal, params.normal_class)
    reference = Reference(*map(_reference, (train, validation)))
    if params.outlier_method == "deep":
        check_reference(reference, learnt_classes(params)[1:])
        doubt_rate(params)
    start_tensorflow(seed, params.threads)
    checkpoint = Checkpoint(scratch, fingerprint(params, seed, data_digest))
    with on_all_devices() as devices:
        augmenter = build_augmenter(params.augment, params.task, seed)
        if params.outlier_method == "autoencoder":
            fitted = _fit_autoencoder(normal, params, seed, checkpoint, augmenter, watch)
        elif params.outlier_method == "deep":
            fitted = _fit_deep(normal, reference, params, seed, checkpoint, augmenter, watch)
        else:
            backbone = build_backbone(params)
            fitted = Fitted(backbone.features, backbone.rule, params.image_size, [])
    if devices > 1 or is_mixed(params.precision):  # saved, and scored by, in float32 on one device
        fitted = replace(fitted, model=rebuild(fitted.model, mixed=False))
    finished = Backbone(fitted.model, fitted.rule)
    known, unseen = (
        extract(finished, images, params.image_size, _kept(checkpoint, f"finished_{name}"))
        for name, images in normal._asdict().items()
    )
    return replace(fitted, scorer=fit_scorer(params.outlier_method, known, unseen, seed))


def _kept(checkpoint: Checkpoint, name: str) -> Path | None:
    """Return where the features called `name` are kept, so that a kill loses few of them."""
    return checkpoint.features and checkpoint.features / name


def _rows(examples: Examples, normal: bool) -> NDArray[np.int64]:
    return np.flatnonzero((examples.targets[:, 0] == 1) == normal)


def _reference(examples: Examples) -> Examples:
    rows = _rows(examples, normal=False)
    return Examples(Some(examples.images, rows), examples.targets[rows, 1:])


def check_normal(normal: Normal, name: str | None) -> None:
    """Raise UserError for too few normal images to learn from, or none to judge scores by."""
    if len(normal.train) < 2:
        raise UserError(
            f"train: expected two images at least of train.normal_class, {name!r}, in the train"
            f" split, got {len(normal.train)}; lower split.test and split.validation in"
            " params.yaml, or add images"
        )
    if not len(normal.validation):
        raise UserError(
            f"train: no image of train.normal_class, {name!r}, in the validation split, which says"
            " which outlier scores are usual; raise split.validation in params.yaml, or add images"
            " of other groups"
        )


def check_reference(reference: Reference, names: Sequence[str]) -> None:
    """Raise UserError for a reference class without train images, or none in validation."""
    remedy = "add images of these classes, or take other classes"
    if not len(reference.validation.images):
        raise UserError(
            "train: no image of train.reference_classes in the validation split, and"
            f" train.outlier_method: deep needs some; {remedy}"
        )
    untrained = np.flatnonzero(reference.train.targets.sum(axis=0) == 0)
    absent = [name for i, name in enumerate(names) if i in untrained]
    if absent:
        raise UserError(
            "train: no image in the train split of train.reference_classes"
            f" {', '.join(map(repr, absent))}, which train.outlier_method: deep is to tell apart;"
            f" {remedy}"
        )


def _fit_autoencoder(
    normal: Normal, params: TrainParams, seed: int, checkpoint: Checkpoint,
    augmenter: "keras.Sequential | None", watch: Watch,
) -> Fitted:  # fmt: skip
    """Train it on random views of the normal images, until those of validation gain no more."""
    model = build_autoencoder(params.image_size, is_mixed(params.precision))
    predict, see = predictor(model), _viewed(normal.validation, params, "resize", checkpoint.folder)
    look = random_looks(normal.train, params, "resize", seed, checkpoint.folder)

    def batches(epoch: int) -> Iterator[Batch]:
        def make(rows: NDArray[np.int64]) -> Batch:
            views = look(epoch, rows)
            return views, np.zeros((len(views), 1), np.float32)

        order = shuffled_batches(len(normal.train), params.batch_size, seed, "fine_tune", epoch)
        return inputs.ahead(make, order)

    phase = Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune,
        -(-len(normal.train) // params.batch_size), batches,
        lambda: float(inputs.predict_each(predict, see).mean()),
        lambda target, error: error[:, 0],  # the network's output is what is to be small
        augmenter,
    )  # fmt: skip
    progress = run_phase(phase, params, checkpoint, Progress("none"), watch)
    return Fitted(model, "resize", params.image_size, progress.history)


def _fit_deep(
    normal: Normal, reference: Reference, params: TrainParams, seed: int, checkpoint: Checkpoint,
    augmenter: "keras.Sequential | None", watch: Watch,
) -> Fitted:  # fmt: skip
    """Train a head on the reference set, then head and backbone by both losses."""
    import keras

    backbone = in_precision(build_backbone(params), params)
    freeze_below(backbone, params.unfreeze)
    head = build_head(backbone, reference.train.targets.shape[1], params)
    image = keras.Input(backbone.features.input_shape[1:], name="image")
    features = backbone.features(image)
    # One network sees both kinds: the two branches of the paper share their weights.
    both = keras.layers.Concatenate(dtype="float32")([features, head(features)])
    model = keras.Model(image, both, name="darkroom")
    progress, reached = Progress("none"), checkpoint.load()
    if params.epochs.head and not (reached and reached.phase == "fine_tune"):
        phase = _describe_phase(normal, reference, backbone, head, params, seed, checkpoint)
        progress = run_phase(phase, params, checkpoint, progress, watch)
    phase = _deep_phase(
        normal, reference, backbone, model, params, seed, checkpoint.folder, augmenter
    )
    progress = run_phase(phase, params, checkpoint, progress, watch)
    return Fitted(backbone.features, backbone.rule, params.image_size, progress.history)


def _describe_phase(
    normal: Normal, reference: Reference, backbone: Backbone, head: "keras.Model",
    params: TrainParams, seed: int, checkpoint: Checkpoint,
) -> Phase:  # fmt: skip
    """Train the head alone, on features of the reference set.

    The features do not move, and so the compactness of the normal ones is a constant; validation
    counts it, so that the two phases' losses can be compared.
    """
    known, unseen, near = (
        extract(backbone, images, params.image_size, _kept(checkpoint, name))
        for name, images in (
            ("train", reference.train.images), ("validation", reference.validation.images),
            ("normal_validation", normal.validation),
        )
    )  # fmt: skip
    seen = np.concatenate([near, unseen])
    predict, loss = predictor(head), one_class_loss(seen.shape[1])
    wanted = _padded(len(near), reference.validation.targets, seen.shape[1])

    def validate() -> float:
        return float(np.asarray(loss(wanted, np.concatenate([seen, predict(seen)], axis=1))))

    def batches(epoch: int) -> Iterator[Batch]:
        for rows in shuffled_batches(len(known), params.batch_size, seed, "head", epoch):
            yield known[rows], reference.train.targets[rows]

    return Phase(
        "head", head, params.epochs.head, params.learning_rate.head,
        -(-len(known) // params.batch_size), batches,
        validate, cross_entropy,
    )  # fmt: skip


def _deep_phase(
    normal: Normal, reference: Reference, backbone: Backbone, model: "keras.Model",
    params: TrainParams, seed: int, folder: Path | None, augmenter: "keras.Sequential | None",
) -> Phase:  # fmt: skip
    """Train on batches of normal and as many reference images, by both losses together."""
    classes = reference.train.targets.shape[1]
    width = model.output_shape[1] - classes
    loss, predict = one_class_loss(width), predictor(model)
    unseen = normal.validation, reference.validation.images
    see = [_viewed(images, params, backbone.rule, folder) for images in unseen]
    look = random_looks(normal.train, params, backbone.rule, seed, folder)
    look_around = random_looks(
        reference.train.images, params, backbone.rule, seed, folder, "reference"
    )
    # Every batch wants two normal images at least, whose spread is what is to be small.
    steps = max(1, len(normal.train) // max(2, params.batch_size))

    def batches(epoch: int) -> Iterator[Batch]:
        def make(pair: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Batch:
            views = [look(epoch, pair[0]), look_around(epoch, pair[1])]
            wanted = _padded(len(pair[0]), reference.train.targets[pair[1]], width)
            return np.concatenate(views), wanted

        rng = generator(seed, "order", "fine_tune", epoch)
        rows = np.array_split(rng.permutation(len(normal.train)), steps)
        others = np.resize(
            rng.permutation(len(reference.train.images)), len(normal.train)
        )  # some reference images only, or some of them more than once
        return inputs.ahead(make, zip(rows, np.array_split(others, steps), strict=True))

    def validate() -> float:
        predicted = np.concatenate([inputs.predict_each(predict, each) for each in see])
        wanted = _padded(len(normal.validation), reference.validation.targets, width)
        return float(np.asarray(loss(wanted, predicted)))

    return Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune, steps,
        batches, validate, loss, augmenter,
    )  # fmt: skip


def _padded(normal: int, targets: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return the targets of normal images, and below them of reference images, for the loss."""
    wanted = np.zeros((normal + len(targets), width + targets.shape[1]), np.float32)
    wanted[normal:, width:] = targets
    return wanted


def _viewed(
    images: Images, params: TrainParams, rule: inputs.Rule, folder: Path | None
) -> inputs.Cached:
    return inputs.Cached(viewer(images, params.image_size, rule), len(images), folder)
