"""Fit a model of one class: what outlier scores are made of, and the scorer.

`mahalanobis`, `svm` and `isolation_forest` read the pooled features of a backbone that is left as
it is. `autoencoder` learns to reconstruct normal images. `deep` fine-tunes the backbone so that
normal images lie close together while a reference set is still classified (Perera and Patel 2019,
arXiv 1801.05365). The phases are those of `training/phases.py`, with their checkpoints.
"""

import logging
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
from darkroom.models.backbones import Backbone, build_backbone, build_head, freeze_all_but_last
from darkroom.models.losses import cross_entropy, one_class_loss
from darkroom.models.one_class.autoencoder import build_autoencoder
from darkroom.models.one_class.fit_scorers import fit_scorer
from darkroom.models.training import fit, steps
from darkroom.models.training.augmentation_layers import build_augmenter
from darkroom.models.training.checkpoints import Checkpoint
from darkroom.models.training.dvclive import EpochCallback, ignore_history
from darkroom.models.training.examples import Examples, training_classes
from darkroom.models.training.features import cached_views, extract_features, random_views
from darkroom.models.training.phases import Batch, Phase, run_phases

if TYPE_CHECKING:
    import keras


logger = logging.getLogger(__name__)

FEW = 20  # images or groups, below which the evaluation calls its thresholds and intervals unsure


class Subset(Sequence[Pixels]):
    """The images at some positions, read when asked for."""

    def __init__(self, images: Sequence[Pixels], positions: NDArray[np.int64]) -> None:
        """Take images and positions."""
        self._images, self._positions = images, positions

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._positions)

    def __getitem__(self, position: Any) -> Any:
        """Read one image."""
        return self._images[int(self._positions[position])]


class Parts(NamedTuple):
    """Examples of one kind: normal (targets: 0), or of the reference classes (n, classes)."""

    train: Examples
    validation: Examples


def fit_one_class(
    train: Examples, validation: Examples, params: TrainParams, seed: int,
    scratch: Path | None = None, data_digest: str = "",
    on_epoch_end: EpochCallback = ignore_history,
) -> fit.FittedModel:  # fmt: skip
    """Fit network and scorer of `params.outlier_method`; resume from `scratch` as `fit_model` does.

    Targets are one-hot over `training_classes`. Raises UserError where nothing can be learned.
    """
    normal = Parts(*(_select(part, normal=True) for part in (train, validation)))
    check_normal(normal, params.normal_class)
    reference = Parts(*(_select(part, normal=False) for part in (train, validation)))
    if params.outlier_method == "deep":
        check_reference(reference, training_classes(params)[1:])
        fit.check_learning_rate(params)
    steps.start_tensorflow(seed, params.threads)
    checkpoint = Checkpoint(scratch, fit.fingerprint(params, seed, data_digest))
    with steps.distribute_over_gpus() as devices:
        augmenter = build_augmenter(params.augment, params.task, seed)
        if params.outlier_method == "autoencoder":
            fitted = _fit_autoencoder(normal, params, seed, checkpoint, augmenter, on_epoch_end)
        elif params.outlier_method == "deep":
            fitted = _fit_deep(normal, reference, params, seed, checkpoint, augmenter, on_epoch_end)
        else:
            backbone = build_backbone(params)
            fitted = fit.FittedModel(backbone.features, backbone.rule, params.image_size, [])
    if devices > 1 or steps.uses_mixed_precision(params.precision):
        # Saved, and used for scoring, in float32 on one device.
        fitted = replace(fitted, model=steps.rebuild(fitted.model, mixed=False))
    finished = Backbone(fitted.model, fitted.rule)
    train_features, validation_features = (
        extract_features(
            finished, part.images, params.image_size, checkpoint.cache(f"finished_{name}")
        )
        for name, part in normal._asdict().items()
    )
    scorer = fit_scorer(params.outlier_method, train_features, validation_features, seed)
    return replace(fitted, scorer=scorer)


def _select(examples: Examples, normal: bool) -> Examples:
    rows = np.flatnonzero((examples.targets[:, 0] == 1) == normal)
    targets = np.zeros((len(rows), 1), np.float32) if normal else examples.targets[rows, 1:]
    return Examples(Subset(examples.images, rows), targets)


def check_normal(normal: Parts, name: str | None) -> None:
    """Raise UserError for too few normal images to learn from, or none to evaluate scores on."""
    if len(normal.train.images) < 2:
        raise UserError(
            f"train: expected two images at least of train.normal_class, {name!r}, in the train"
            f" split, got {len(normal.train.images)}; lower split.test and split.validation in"
            " params.yaml, or add images"
        )
    if not len(normal.validation.images):
        raise UserError(
            f"train: no image of train.normal_class, {name!r}, in the validation split, which says"
            " which outlier scores are usual; raise split.validation in params.yaml, or add images"
            " of other groups"
        )
    known, usual = len(normal.train.images), len(normal.validation.images)
    if min(known, usual) < FEW:
        logger.warning(
            "train: only %d images show what is normal, and %d more how far normal ones go. That is"
            " little: the share of normal images that score lower comes in steps of %.0f %%, a"
            " specificity of 90 %% needs 10 in validation, and below %d of each neither thresholds"
            " nor intervals are sure; add normal images",
            known, usual, 100 / usual, FEW,
        )  # fmt: skip


def check_reference(reference: Parts, names: Sequence[str]) -> None:
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
    normal: Parts, params: TrainParams, seed: int, checkpoint: Checkpoint,
    augmenter: "keras.Sequential | None", on_epoch_end: EpochCallback,
) -> fit.FittedModel:  # fmt: skip
    """Train it on random views of the normal images: its output is what is to be small."""
    model = build_autoencoder(params.image_size, steps.uses_mixed_precision(params.precision))

    def build_phase() -> Phase:
        return fit.fine_tune_phase(
            model, normal.train, normal.validation.images, "resize", params, seed,
            checkpoint.folder, lambda errors: float(errors.mean()),
            lambda target, error: error[:, 0], augmenter,
        )  # fmt: skip

    state = run_phases({"fine_tune": build_phase}, params, checkpoint, on_epoch_end)
    return fit.FittedModel(model, "resize", params.image_size, state.history)


def _fit_deep(
    normal: Parts, reference: Parts, params: TrainParams, seed: int,
    checkpoint: Checkpoint, augmenter: "keras.Sequential | None", on_epoch_end: EpochCallback,
) -> fit.FittedModel:  # fmt: skip
    """Train a head on the reference set, then head and backbone by both losses."""
    import keras

    backbone = fit.apply_precision(build_backbone(params), params)
    freeze_all_but_last(backbone, params.unfreeze)
    head = build_head(backbone, reference.train.targets.shape[1], params)
    image = keras.Input(backbone.features.input_shape[1:], name="image")
    features = backbone.features(image)
    # One network takes both kinds: the two branches of the paper share their weights.
    outputs = keras.layers.Concatenate(dtype="float32")([features, head(features)])
    model = keras.Model(image, outputs, name="darkroom")
    phases = {
        "head": lambda: _deep_head_phase(
            normal, reference, backbone, head, params, seed, checkpoint
        ),
        "fine_tune": lambda: _deep_fine_tune_phase(
            normal, reference, backbone, model, params, seed, checkpoint.folder, augmenter
        ),
    }
    state = run_phases(phases, params, checkpoint, on_epoch_end)
    return fit.FittedModel(backbone.features, backbone.rule, params.image_size, state.history)


def _deep_head_phase(
    normal: Parts, reference: Parts, backbone: Backbone, head: "keras.Model",
    params: TrainParams, seed: int, checkpoint: Checkpoint,
) -> Phase:  # fmt: skip
    """Train the head alone, on features of the reference set.

    The features do not move, and so the compactness of the normal ones is a constant; validation
    counts it, so that the two phases' losses can be compared.
    """
    train_features, reference_features, normal_features = (
        extract_features(backbone, part.images, params.image_size, checkpoint.cache(name))
        for name, part in (*reference._asdict().items(), ("normal_validation", normal.validation))
    )
    features = np.concatenate([normal_features, reference_features])  # of validation
    width = features.shape[1]
    predict, loss = steps.build_predictor(head), one_class_loss(width)
    targets = _pad_targets(len(normal_features), reference.validation.targets, width)

    def validate() -> float:
        outputs = np.concatenate([features, predict(features)], axis=1)
        return float(np.asarray(loss(targets, outputs)))

    return fit.head_phase(
        head, train_features, reference.train.targets, params, seed, validate, cross_entropy
    )


def _deep_fine_tune_phase(
    normal: Parts, reference: Parts, backbone: Backbone, model: "keras.Model",
    params: TrainParams, seed: int, folder: Path | None, augmenter: "keras.Sequential | None",
) -> Phase:  # fmt: skip
    """Train on batches of normal and as many reference images, by both losses together."""
    classes = reference.train.targets.shape[1]
    width = model.output_shape[1] - classes
    loss, predict = one_class_loss(width), steps.build_predictor(model)
    size, rule, count = params.image_size, backbone.rule, len(normal.train.images)
    validation = normal.validation, reference.validation
    unseen = [cached_views(part.images, size, rule, folder) for part in validation]
    normal_views = random_views(normal.train.images, params, rule, seed, folder)
    reference_views = random_views(reference.train.images, params, rule, seed, folder, "reference")
    # Every batch needs two normal images at least, whose spread is what is to be small.
    batch_count = max(1, count // max(2, params.batch_size))

    def batches(epoch: int) -> Iterator[Batch]:
        def make(pair: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Batch:
            views = [normal_views(epoch, pair[0]), reference_views(epoch, pair[1])]
            targets = _pad_targets(len(pair[0]), reference.train.targets[pair[1]], width)
            return np.concatenate(views), targets

        rng = generator(seed, "order", "fine_tune", epoch)
        rows = np.array_split(rng.permutation(count), batch_count)
        # some reference images only, or some of them more than once
        others = np.resize(rng.permutation(len(reference.train.images)), count)
        return inputs.prefetch(make, zip(rows, np.array_split(others, batch_count), strict=True))

    def validate() -> float:
        predicted = np.concatenate([inputs.predict_each(predict, each) for each in unseen])
        targets = _pad_targets(len(normal.validation.images), reference.validation.targets, width)
        return float(np.asarray(loss(targets, predicted)))

    return Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune, batch_count,
        batches, validate, loss, augmenter,
    )  # fmt: skip


def _pad_targets(normal: int, targets: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return the targets of normal images, and below them of reference images, for the loss."""
    padded = np.zeros((normal + len(targets), width + targets.shape[1]), np.float32)
    padded[normal:, width:] = targets
    return padded
