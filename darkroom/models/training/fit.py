"""Fit a model: a frozen phase on cached features, then fine-tuning of all or the last layers.

How a phase runs is in `phases.py`. Everything random (order, views, dropout) derives from the seed
and the epoch or is part of the checkpoint, so that a killed training resumes to the same weights.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.params.train import TrainParams
from darkroom.images.decode import Pixels
from darkroom.models import inputs
from darkroom.models.backbones import BUNDLED, Backbone, build_backbone, freeze_all_but_last
from darkroom.models.heads import attach_head, build_head
from darkroom.models.losses import task_loss, weight_by_class
from darkroom.models.one_class.scores import Scorer
from darkroom.models.targets import Distributions, balanced_weights, strata
from darkroom.models.training.augmentation_layers import build_augmenter
from darkroom.models.training.checkpoints import Checkpoint, HistoryRow, TrainingState
from darkroom.models.training.dvclive import EpochCallback, ignore_history
from darkroom.models.training.examples import Examples
from darkroom.models.training.features import cached_views, extract_features, random_views
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

CODE_VERSION = "4"  # raised when a change makes old checkpoints unusable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedModel:
    """A fitted model, and how it was reached."""

    model: "keras.Model"  # (n, size, size, 3) in [0, 255] → (n, bins or classes)
    rule: inputs.InputRule
    size_px: int
    history: list[HistoryRow]  # one per epoch: epoch, phase, loss, val_loss
    scorer: Scorer | None = None  # of a model of one class

    @property
    def best(self) -> HistoryRow | None:
        """Return the epoch whose weights the model has, None for the untrained."""
        return min(self.history, key=lambda row: row["val_loss"], default=None)

    def predict(self, images: Iterable[Pixels]) -> NDArray[np.float32]:
        """Return one distribution per image, as SavedModel does."""
        views = (inputs.views(image, self.size_px, self.rule) for image in images)
        return inputs.predict_each(build_predictor(self.model), views)

    def first_inputs(self, images: Sequence[Pixels], count: int) -> NDArray[np.float32]:
        """Return the first views of `count` images, as the network takes them: (b, s, s, 3)."""
        some = range(min(count, len(images)))
        views = [inputs.views(images[i], self.size_px, self.rule)[0] for i in some]
        return np.stack(views).astype(np.float32)


def fit_model(
    train: Examples, validation: Examples, params: TrainParams, seed: int,
    scratch: Path | None = None, data_digest: str = "",
    on_epoch_end: EpochCallback = ignore_history,
) -> FittedModel:  # fmt: skip
    """Fit the model that `params` describes; resume from `scratch` when it holds this training.

    `data_digest` stands for the examples there: a checkpoint of other ones is not resumed.
    `on_epoch_end` is called with the history.
    Raises UserError for examples or settings that nothing can be learned from.
    """
    check_examples(train, validation)
    check_learning_rate(params)
    start_tensorflow(seed, params.threads)
    with distribute_over_gpus() as devices:
        augmenter = build_augmenter(params.augment, params.task, seed)
        if params.epochs.head:
            logger.info(
                "train: head learns from features that each image gives once; random crops, flips"
                " and train.augment apply in fine_tune alone"
            )
        backbone = apply_precision(build_backbone(params), params)
        freeze_all_but_last(backbone, params.unfreeze)
        head = build_head(backbone, train.targets.shape[1], params)
        model = attach_head(backbone, head)
        checkpoint = Checkpoint(scratch, fingerprint(params, seed, data_digest))
        state, reached = TrainingState("none"), checkpoint.load()
        if params.epochs.head and not (reached and reached.phase == "fine_tune"):
            phase = _head_phase(
                train, validation, backbone, head, params, seed, checkpoint.features
            )
            state = run_phase(phase, params, checkpoint, state, on_epoch_end)
        if params.epochs.fine_tune:
            phase = _fine_tune_phase(
                train, validation, backbone, model, params, seed, augmenter, scratch
            )
            state = run_phase(phase, params, checkpoint, state, on_epoch_end)
    if devices > 1 or uses_mixed_precision(params.precision):
        model = rebuild(model, mixed=False)  # as it is saved: float32, on one device
    return FittedModel(model, backbone.rule, params.image_size, state.history)


def fingerprint(params: TrainParams, seed: int, data_digest: str) -> str:
    """Return a digest of all that a training depends on, the device's precision included."""
    weights = BUNDLED if params.backbone == "bundled" else Path(params.weights or "imagenet")
    own = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else ""
    mixed = f"mixed: {uses_mixed_precision(params.precision)}"  # auto means either
    text = "\n".join([CODE_VERSION, params.model_dump_json(), str(seed), data_digest, own, mixed])
    return hashlib.sha256(text.encode()).hexdigest()


def apply_precision(backbone: Backbone, params: TrainParams) -> Backbone:
    """Return the backbone as `train.precision` wants it; `small` squares beyond float16's range."""
    if params.backbone == "small" or not uses_mixed_precision(params.precision):
        return backbone
    return replace(backbone, features=rebuild(backbone.features, mixed=True))


def check_learning_rate(params: TrainParams) -> None:
    """Warn of a learning rate too high for fine-tuning a pretrained network."""
    head, fine_tune = params.learning_rate.head, params.learning_rate.fine_tune
    pretrained = params.backbone == "bundled" or params.weights is not None
    if pretrained and params.epochs.fine_tune and fine_tune > head:
        logger.warning(
            "train: fine_tune learns at a higher rate than head, %g against %g, and may undo what"
            " the backbone knows: lower train.learning_rate.fine_tune in params.yaml, to 0.0001 for"
            " example", fine_tune, head,
        )  # fmt: skip


def check_examples(train: Examples, validation: Examples) -> None:
    """Raise UserError when there is nothing to learn from, or nothing to stop by."""
    if not len(train.images):
        raise UserError(
            "train: no labelled image in the train split; give the source labels (README,"
            " `your own images`), or set train.task to none"
        )
    if not len(validation.images):
        raise UserError(
            "train: no labelled image in the validation split, which decides when to stop; raise"
            " split.validation in params.yaml, or add images of other groups"
        )
    for part in (train, validation):
        if not (
            np.isfinite(part.targets).all() and np.allclose(part.targets.sum(axis=1), 1, atol=1e-4)
        ):
            raise UserError("train: targets must be finite and sum to 1 per image")


def _head_phase(
    train: Examples, validation: Examples, backbone: Backbone, head: "keras.Model",
    params: TrainParams, seed: int, cache: Path | None,
) -> Phase:  # fmt: skip
    """Train the last layer on features: each image goes through the backbone once."""
    train_features, validation_features = (
        extract_features(backbone, part.images, params.image_size, cache and cache / name)
        for name, part in (("train", train), ("validation", validation))
    )
    predict = build_predictor(head)

    def batches(epoch: int) -> Iterator[Batch]:
        for rows in shuffled_batches(len(train_features), params.batch_size, seed, "head", epoch):
            yield train_features[rows], train.targets[rows]

    return Phase(
        "head", head, params.epochs.head, params.learning_rate.head,
        _steps(train, params), batches,
        lambda: _mean_loss(params.task, validation.targets, predict(validation_features)),
        _training_loss(train.targets, params),
    )  # fmt: skip


def _fine_tune_phase(
    train: Examples, validation: Examples, backbone: Backbone, model: "keras.Model",
    params: TrainParams, seed: int, augmenter: "keras.Sequential | None", scratch: Path | None,
) -> Phase:  # fmt: skip
    """Train the layers that are not frozen on random views of the images."""
    size, rule = params.image_size, backbone.rule
    views = random_views(train.images, params, rule, seed, scratch)
    unseen = cached_views(validation.images, size, rule, scratch)
    predict = build_predictor(model)

    def batches(epoch: int) -> Iterator[Batch]:
        order = shuffled_batches(len(train.images), params.batch_size, seed, "fine_tune", epoch)
        return inputs.prefetch(lambda rows: (views(epoch, rows), train.targets[rows]), order)

    return Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune,
        _steps(train, params), batches,
        lambda: _mean_loss(params.task, validation.targets, inputs.predict_each(predict, unseen)),
        _training_loss(train.targets, params),
        augmenter,
    )  # fmt: skip


def _training_loss(targets: Distributions, params: TrainParams) -> Any:
    """Return the task's loss, with `train.class_weights` in it; validation stays unweighted."""
    loss = task_loss(params.task)
    if params.class_weights == "none":
        return loss
    return weight_by_class(loss, balanced_weights(strata(targets), targets.shape[1]))


def _mean_loss(task: str, targets: Distributions, predicted: NDArray[np.float32]) -> float:
    return float(np.mean(np.asarray(task_loss(task)(targets, predicted))))


def _steps(train: Examples, params: TrainParams) -> int:
    return -(-len(train.images) // params.batch_size)
