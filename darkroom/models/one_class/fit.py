"""Fit a model of one class: what outlier scores are made of, and the scorer.

`mahalanobis`, `svm` and `isolation_forest` read the pooled features of a backbone that is left as
it is. `autoencoder` learns to reconstruct normal images. `deep` fine-tunes the backbone so that
normal images lie close together while a reference set is still classified (Perera and Patel 2019,
arXiv 1801.05365). The phases are those of `training/phases.py`, with their checkpoints.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.params.train import TrainParams
from darkroom.core.randomness import generator
from darkroom.images.decode import Pixels
from darkroom.models import inputs
from darkroom.models.backbones import Backbone, build_backbone, freeze_all_but_last
from darkroom.models.heads import build_head
from darkroom.models.losses import cross_entropy, one_class_loss
from darkroom.models.one_class.autoencoder import build_autoencoder
from darkroom.models.one_class.fit_scorers import fit_scorer
from darkroom.models.training.augmentation_layers import build_augmenter
from darkroom.models.training.checkpoints import Checkpoint, TrainingState
from darkroom.models.training.dvclive import EpochCallback, ignore_history
from darkroom.models.training.examples import Examples, training_classes
from darkroom.models.training.features import cached_views, extract_features, random_views
from darkroom.models.training.fit import (
    FittedModel,
    apply_precision,
    check_learning_rate,
    fingerprint,
)
from darkroom.models.training.phases import Batch, Phase, run_phase, shuffled_batches
from darkroom.models.training.steps import (
    build_predictor,
    distribute_over_gpus,
    rebuild,
    start_tensorflow,
    uses_mixed_precision,
)

if TYPE_CHECKING:
    import keras

Images = Sequence[Pixels]


class Subset(Sequence[Pixels]):
    """The images at some positions, read when asked for."""

    def __init__(self, images: Images, positions: NDArray[np.int64]) -> None:
        """Take images and positions."""
        self._images, self._positions = images, positions

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._positions)

    def __getitem__(self, position: Any) -> Any:
        """Read one image."""
        return self._images[int(self._positions[position])]


class NormalImages(NamedTuple):
    """The images of the normal class."""

    train: Images
    validation: Images


class ReferenceExamples(NamedTuple):
    """The images of the reference classes, with their classes as targets (n, classes)."""

    train: Examples
    validation: Examples


def fit_one_class(
    train: Examples, validation: Examples, params: TrainParams, seed: int,
    scratch: Path | None = None, data_digest: str = "",
    on_epoch_end: EpochCallback = ignore_history,
) -> FittedModel:  # fmt: skip
    """Fit network and scorer of `params.outlier_method`; resume from `scratch` as `fit_model` does.

    Targets are one-hot over `training_classes`. Raises UserError where nothing can be learned.
    """
    normal = NormalImages(*(Subset(part.images, _rows(part, True)) for part in (train, validation)))
    check_normal(normal, params.normal_class)
    reference = ReferenceExamples(*map(_reference, (train, validation)))
    if params.outlier_method == "deep":
        check_reference(reference, training_classes(params)[1:])
        check_learning_rate(params)
    start_tensorflow(seed, params.threads)
    checkpoint = Checkpoint(scratch, fingerprint(params, seed, data_digest))
    with distribute_over_gpus() as devices:
        augmenter = build_augmenter(params.augment, params.task, seed)
        if params.outlier_method == "autoencoder":
            fitted = _fit_autoencoder(normal, params, seed, checkpoint, augmenter, on_epoch_end)
        elif params.outlier_method == "deep":
            fitted = _fit_deep(normal, reference, params, seed, checkpoint, augmenter, on_epoch_end)
        else:
            backbone = build_backbone(params)
            fitted = FittedModel(backbone.features, backbone.rule, params.image_size, [])
    if devices > 1 or uses_mixed_precision(params.precision):
        # Saved, and used for scoring, in float32 on one device.
        fitted = replace(fitted, model=rebuild(fitted.model, mixed=False))
    finished = Backbone(fitted.model, fitted.rule)
    train_features, validation_features = (
        extract_features(
            finished, images, params.image_size, _cache_folder(checkpoint, f"finished_{name}")
        )
        for name, images in normal._asdict().items()
    )
    scorer = fit_scorer(params.outlier_method, train_features, validation_features, seed)
    return replace(fitted, scorer=scorer)


def _cache_folder(checkpoint: Checkpoint, name: str) -> Path | None:
    """Return where the features called `name` are stored, so that a kill loses few of them."""
    return checkpoint.features and checkpoint.features / name


def _rows(examples: Examples, normal: bool) -> NDArray[np.int64]:
    return np.flatnonzero((examples.targets[:, 0] == 1) == normal)


def _reference(examples: Examples) -> Examples:
    rows = _rows(examples, normal=False)
    return Examples(Subset(examples.images, rows), examples.targets[rows, 1:])


def check_normal(normal: NormalImages, name: str | None) -> None:
    """Raise UserError for too few normal images to learn from, or none to evaluate scores on."""
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


def check_reference(reference: ReferenceExamples, names: Sequence[str]) -> None:
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
    normal: NormalImages, params: TrainParams, seed: int, checkpoint: Checkpoint,
    augmenter: "keras.Sequential | None", on_epoch_end: EpochCallback,
) -> FittedModel:  # fmt: skip
    """Train it on random views of the normal images."""
    model = build_autoencoder(params.image_size, uses_mixed_precision(params.precision))
    predict, size = build_predictor(model), params.image_size
    views = random_views(normal.train, params, "resize", seed, checkpoint.folder)
    unseen = cached_views(normal.validation, size, "resize", checkpoint.folder)

    def batches(epoch: int) -> Iterator[Batch]:
        def make(rows: NDArray[np.int64]) -> Batch:
            return views(epoch, rows), np.zeros((len(rows), 1), np.float32)

        order = shuffled_batches(len(normal.train), params.batch_size, seed, "fine_tune", epoch)
        return inputs.prefetch(make, order)

    phase = Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune,
        -(-len(normal.train) // params.batch_size), batches,
        lambda: float(inputs.predict_each(predict, unseen).mean()),
        lambda target, error: error[:, 0],  # the network's output is what is to be small
        augmenter,
    )  # fmt: skip
    state = run_phase(phase, params, checkpoint, TrainingState("none"), on_epoch_end)
    return FittedModel(model, "resize", params.image_size, state.history)


def _fit_deep(
    normal: NormalImages, reference: ReferenceExamples, params: TrainParams, seed: int,
    checkpoint: Checkpoint, augmenter: "keras.Sequential | None", on_epoch_end: EpochCallback,
) -> FittedModel:  # fmt: skip
    """Train a head on the reference set, then head and backbone by both losses."""
    import keras

    backbone = apply_precision(build_backbone(params), params)
    freeze_all_but_last(backbone, params.unfreeze)
    head = build_head(backbone, reference.train.targets.shape[1], params)
    image = keras.Input(backbone.features.input_shape[1:], name="image")
    features = backbone.features(image)
    # One network takes both kinds: the two branches of the paper share their weights.
    outputs = keras.layers.Concatenate(dtype="float32")([features, head(features)])
    model = keras.Model(image, outputs, name="darkroom")
    state, reached = TrainingState("none"), checkpoint.load()
    if params.epochs.head and not (reached and reached.phase == "fine_tune"):
        phase = _deep_head_phase(normal, reference, backbone, head, params, seed, checkpoint)
        state = run_phase(phase, params, checkpoint, state, on_epoch_end)
    phase = _deep_fine_tune_phase(
        normal, reference, backbone, model, params, seed, checkpoint.folder, augmenter
    )
    state = run_phase(phase, params, checkpoint, state, on_epoch_end)
    return FittedModel(backbone.features, backbone.rule, params.image_size, state.history)


def _deep_head_phase(
    normal: NormalImages, reference: ReferenceExamples, backbone: Backbone, head: "keras.Model",
    params: TrainParams, seed: int, checkpoint: Checkpoint,
) -> Phase:  # fmt: skip
    """Train the head alone, on features of the reference set.

    The features do not move, and so the compactness of the normal ones is a constant; validation
    counts it, so that the two phases' losses can be compared.
    """
    train_features, reference_features, normal_features = (
        extract_features(backbone, images, params.image_size, _cache_folder(checkpoint, name))
        for name, images in (
            ("train", reference.train.images), ("validation", reference.validation.images),
            ("normal_validation", normal.validation),
        )
    )  # fmt: skip
    features = np.concatenate([normal_features, reference_features])  # of validation
    width = features.shape[1]
    predict, loss = build_predictor(head), one_class_loss(width)
    targets = _pad_targets(len(normal_features), reference.validation.targets, width)

    def validate() -> float:
        outputs = np.concatenate([features, predict(features)], axis=1)
        return float(np.asarray(loss(targets, outputs)))

    def batches(epoch: int) -> Iterator[Batch]:
        for rows in shuffled_batches(len(train_features), params.batch_size, seed, "head", epoch):
            yield train_features[rows], reference.train.targets[rows]

    return Phase(
        "head", head, params.epochs.head, params.learning_rate.head,
        -(-len(train_features) // params.batch_size), batches,
        validate, cross_entropy,
    )  # fmt: skip


def _deep_fine_tune_phase(
    normal: NormalImages, reference: ReferenceExamples, backbone: Backbone, model: "keras.Model",
    params: TrainParams, seed: int, folder: Path | None, augmenter: "keras.Sequential | None",
) -> Phase:  # fmt: skip
    """Train on batches of normal and as many reference images, by both losses together."""
    classes = reference.train.targets.shape[1]
    width = model.output_shape[1] - classes
    loss, predict = one_class_loss(width), build_predictor(model)
    size, rule = params.image_size, backbone.rule
    validation = normal.validation, reference.validation.images
    unseen = [cached_views(images, size, rule, folder) for images in validation]
    normal_views = random_views(normal.train, params, rule, seed, folder)
    reference_views = random_views(reference.train.images, params, rule, seed, folder, "reference")
    # Every batch needs two normal images at least, whose spread is what is to be small.
    steps = max(1, len(normal.train) // max(2, params.batch_size))

    def batches(epoch: int) -> Iterator[Batch]:
        def make(pair: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Batch:
            views = [normal_views(epoch, pair[0]), reference_views(epoch, pair[1])]
            targets = _pad_targets(len(pair[0]), reference.train.targets[pair[1]], width)
            return np.concatenate(views), targets

        rng = generator(seed, "order", "fine_tune", epoch)
        rows = np.array_split(rng.permutation(len(normal.train)), steps)
        others = np.resize(
            rng.permutation(len(reference.train.images)), len(normal.train)
        )  # some reference images only, or some of them more than once
        return inputs.prefetch(make, zip(rows, np.array_split(others, steps), strict=True))

    def validate() -> float:
        predicted = np.concatenate([inputs.predict_each(predict, each) for each in unseen])
        targets = _pad_targets(len(normal.validation), reference.validation.targets, width)
        return float(np.asarray(loss(targets, predicted)))

    return Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune, steps,
        batches, validate, loss, augmenter,
    )  # fmt: skip


def _pad_targets(normal: int, targets: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return the targets of normal images, and below them of reference images, for the loss."""
    padded = np.zeros((normal + len(targets), width + targets.shape[1]), np.float32)
    padded[normal:, width:] = targets
    return padded
