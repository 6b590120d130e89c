"""Fit a model: a frozen phase on cached features, then fine-tuning of all or the last layers.

How a phase runs is in `phases.py`. Everything random (order, views, dropout) derives from the seed
and the epoch or is part of the checkpoint, so that a killed training resumes to the same weights.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.params.train import TrainParams
from darkroom.filters.preprocess import Step
from darkroom.images.decode import Pixels
from darkroom.images.grey_range import GreyRange
from darkroom.models import inputs
from darkroom.models.backbones import (
    BUNDLED,
    Backbone,
    attach_head,
    build_backbone,
    build_head,
    freeze_all_but_last,
)  # fmt: skip
from darkroom.models.losses import cross_entropy, emd_loss, weight_by_class
from darkroom.models.one_class.scores import Scorer
from darkroom.models.targets import balanced_weights, strata
from darkroom.models.training import steps
from darkroom.models.training.augmentation_layers import build_augmenter
from darkroom.models.training.checkpoints import Checkpoint, HistoryRow
from darkroom.models.training.dvclive import EpochCallback, ignore_history
from darkroom.models.training.examples import Examples, TrainingSet
from darkroom.models.training.features import cached_views, extract_features, random_views
from darkroom.models.training.phases import Batch, Phase, run_phases, shuffled_batches

if TYPE_CHECKING:
    import keras

CODE_VERSION = "4"  # raised when a change makes old checkpoints unusable
ONE_CLASS = ("normal_class", "outlier_method", "reference_classes")

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
        return inputs.predict_each(steps.build_predictor(self.model), views)

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
    steps.start_tensorflow(seed, params.threads)
    checkpoint = Checkpoint(scratch, fingerprint(params, seed, data_digest))
    loss: Any = emd_loss if params.task == "rating" else cross_entropy
    training_loss = loss
    if params.class_weights == "balanced":  # validation stays unweighted
        weights = balanced_weights(strata(train.targets), train.targets.shape[1])
        training_loss = weight_by_class(loss, weights)

    def validation_loss(predicted: NDArray[np.float32]) -> float:
        return float(np.mean(np.asarray(loss(validation.targets, predicted))))

    with steps.distribute_over_gpus() as devices:
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

        def build_head_phase() -> Phase:
            features, unseen = (
                extract_features(backbone, part.images, params.image_size, checkpoint.cache(name))
                for name, part in (("train", train), ("validation", validation))
            )
            predict = steps.build_predictor(head)
            return head_phase(
                head, features, train.targets, params, seed,
                lambda: validation_loss(predict(unseen)), training_loss,
            )  # fmt: skip

        def build_fine_tune_phase() -> Phase:
            return fine_tune_phase(
                model, train, validation.images, backbone.rule, params, seed, scratch,
                validation_loss, training_loss, augmenter,
            )  # fmt: skip

        phases = {"head": build_head_phase, "fine_tune": build_fine_tune_phase}
        state = run_phases(phases, params, checkpoint, on_epoch_end)
    if devices > 1 or steps.uses_mixed_precision(params.precision):
        model = steps.rebuild(model, mixed=False)  # as it is saved: float32, on one device
    return FittedModel(model, backbone.rule, params.image_size, state.history)


def describe_model(
    fitted: FittedModel, data: TrainingSet, params: TrainParams, filters: Sequence[Step], seed: int,
    max_pixels: int, grey_range: GreyRange | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the contents of `model.json`; nothing depends on when or where it was made."""
    return {
        "task": params.task,
        "classes": list(data.classes),
        "scale": params.scale.model_dump() if params.task == "rating" else None,
        "preprocess": list(filters),
        "input": {
            "size_px": fitted.size_px, "rule": fitted.rule, "channels": "RGB, 0 to 255",
            "max_pixels": max_pixels, "grey_range": grey_range,
        },
        "seed": seed,
        "parameters": params.model_dump(),
        "training_data": data.digest,
        **{name: getattr(params, name) for name in ONE_CLASS if params.task == "one_class"},
    }  # fmt: skip


def fingerprint(params: TrainParams, seed: int, data_digest: str) -> str:
    """Return a digest of all that a training depends on, the device's precision included."""
    weights = BUNDLED if params.backbone == "bundled" else Path(params.weights or "imagenet")
    own = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else ""
    mixed = f"mixed: {steps.uses_mixed_precision(params.precision)}"  # auto means either
    text = "\n".join([CODE_VERSION, params.model_dump_json(), str(seed), data_digest, own, mixed])
    return hashlib.sha256(text.encode()).hexdigest()


def apply_precision(backbone: Backbone, params: TrainParams) -> Backbone:
    """Return the backbone as `train.precision` wants it; `small` squares beyond float16's range."""
    if params.backbone == "small" or not steps.uses_mixed_precision(params.precision):
        return backbone
    return replace(backbone, features=steps.rebuild(backbone.features, mixed=True))


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
            "train: no labelled image that decodes in the train split;"
            " give the source labels (README, `your own images`), or set train.task to none"
        )
    if not len(validation.images):
        raise UserError(
            "train: no labelled image in the validation split, which decides when to stop; add"
            " labelled images of other groups: data/split.parquet has the `split_group` of each"
        )
    for part in (train, validation):
        if not (
            np.isfinite(part.targets).all() and np.allclose(part.targets.sum(axis=1), 1, atol=1e-4)
        ):
            raise UserError("train: targets must be finite and sum to 1 per image")


def head_phase(
    head: "keras.Model", features: NDArray[np.float32], targets: NDArray[np.float32],
    params: TrainParams, seed: int, validate: Callable[[], float], loss: Any,
) -> Phase:  # fmt: skip
    """Train the last layer on features (n, d): each image goes through the backbone once."""

    def batches(epoch: int) -> Iterator[Batch]:
        for rows in shuffled_batches(len(features), params.batch_size, seed, "head", epoch):
            yield features[rows], targets[rows]

    return Phase(
        "head", head, params.epochs.head, params.learning_rate.head,
        -(-len(features) // params.batch_size), batches, validate, loss,
    )  # fmt: skip


def fine_tune_phase(
    model: "keras.Model", train: Examples, validation: Sequence[Pixels], rule: inputs.InputRule,
    params: TrainParams, seed: int, scratch: Path | None,
    validation_loss: Callable[[NDArray[np.float32]], float], loss: Any,
    augmenter: "keras.Sequential | None",
) -> Phase:  # fmt: skip
    """Train the layers that are not frozen on random views of the images."""
    views = random_views(train.images, params, rule, seed, scratch)
    unseen = cached_views(validation, params.image_size, rule, scratch)
    predict = steps.build_predictor(model)

    def batches(epoch: int) -> Iterator[Batch]:
        order = shuffled_batches(len(train.images), params.batch_size, seed, "fine_tune", epoch)
        return inputs.prefetch(lambda rows: (views(epoch, rows), train.targets[rows]), order)

    return Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune,
        -(-len(train.images) // params.batch_size), batches,
        lambda: validation_loss(inputs.predict_each(predict, unseen)), loss, augmenter,
    )  # fmt: skip
