"""Section `train`: the model and how it learns."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from darkroom.core.params.scale import Scale
from darkroom.core.params.section import Positive, Section


class Epochs(Section):
    """Epochs of each phase."""

    head: Annotated[int, Field(ge=0)]
    fine_tune: Annotated[int, Field(ge=0)]


class Rates(Section):
    """Learning rate of each phase."""

    head: Annotated[float, Field(gt=0)]
    fine_tune: Annotated[float, Field(gt=0)]


# Below it nothing is left at the end; where it is not 32 px, as keras.applications documents it.
SMALLEST_PX = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
BUNDLED_PX = 128  # the side of the bundled network's input
AUTOENCODER_STEP_PX = 16  # a side of the image over that of the code, four halvings


class TrainParams(Section):
    """The model and how it learns."""

    task: Literal["rating", "classification", "one_class", "none"]
    scale: Scale
    normal_class: str | None
    outlier_method: Literal["mahalanobis", "svm", "isolation_forest", "autoencoder", "deep"]
    reference_classes: list[str]
    preprocess: list[dict[str, Any]]
    augment: list[dict[str, Any]]
    backbone: str
    alpha: Annotated[float, Field(gt=0)] | None
    weights: str | None
    image_size: Annotated[int, Field(ge=16)]
    unfreeze: Positive | None
    horizontal_flip: bool
    epochs: Epochs
    max_per_class: Positive | None
    class_weights: Literal["none", "balanced"]
    batch_size: Positive
    learning_rate: Rates
    dropout: Annotated[float, Field(ge=0, lt=1)]
    patience: Positive
    threads: Positive
    precision: Literal["auto", "float32", "mixed"]

    @model_validator(mode="after")
    def _one_class(self) -> "TrainParams":
        if self.task == "one_class":
            _check_one_class(self)
        return self

    @model_validator(mode="after")
    def _image_size(self) -> "TrainParams":
        least = SMALLEST_PX.get(self.backbone, 32)
        unused = self.task == "none" or (
            self.task == "one_class" and self.outlier_method == "autoencoder"
        )
        if self.backbone == "bundled" and self.image_size != BUNDLED_PX and not unused:
            raise ValueError(
                f"image_size: expected {BUNDLED_PX} with backbone: bundled, whose input has that"
                f" size; got {self.image_size}"
            )
        if self.image_size < least and not unused:
            raise ValueError(
                f"image_size: expected at least {least} with backbone: {self.backbone}; got"
                f" {self.image_size}"
            )
        return self


def _check_one_class(train: TrainParams) -> None:
    """Raise ValueError for settings with which nothing can be learnt from one class."""
    method, reference = train.outlier_method, train.reference_classes
    if train.normal_class is None:
        raise ValueError("task: one_class needs normal_class, the label to learn from")
    if train.normal_class in reference:
        raise ValueError(
            f"reference_classes must not hold normal_class, {train.normal_class!r}: take it out"
        )
    if method == "deep" and len(set(reference)) < 2:
        raise ValueError(
            "outlier_method: deep needs two reference_classes at least, labels of images that are"
            f" neither normal nor what is looked for; got {reference}"
        )
    if method in ("deep", "autoencoder") and not train.epochs.fine_tune:
        raise ValueError(f"outlier_method: {method} learns in epochs.fine_tune: set it above 0")
    if method == "autoencoder" and train.image_size % AUTOENCODER_STEP_PX:
        raise ValueError(
            f"image_size must be a multiple of {AUTOENCODER_STEP_PX} with outlier_method:"
            f" autoencoder, which halves it again and again; got {train.image_size}"
        )
    _check_unused(train)
    pretrained = train.backbone == "bundled" or train.weights is not None
    if method in ("mahalanobis", "svm", "isolation_forest") and not pretrained:
        raise ValueError(
            f"outlier_method: {method} reads a backbone that is not trained further, and"
            f" {train.backbone} without weights has learnt nothing: set backbone: bundled"
            " (image_size: 128), or weights: imagenet with a network of keras.applications"
        )


def _check_unused(train: TrainParams) -> None:
    """Raise ValueError for settings that the method would not use."""
    method = f"outlier_method: {train.outlier_method}"
    unused: list[tuple[str, Any, str]] = [
        ("class_weights", "none", "task: one_class, whose losses weigh no classes")
    ]
    if train.outlier_method not in ("deep", "autoencoder"):
        unused.append(("augment", [], f"{method}, which has no fine-tuning for it to apply in"))
    if train.outlier_method != "deep":
        unused.append(("unfreeze", None, f"{method}, which fine-tunes no backbone"))
    if train.outlier_method == "autoencoder":
        why = f"{method}, a network of its own that learns from nothing, whatever backbone says"
        unused += [("weights", None, why), ("alpha", None, why)]
    for name, off, why in unused:
        if (value := getattr(train, name)) != off:
            shown = "null" if off is None else off
            raise ValueError(f"{name} must be {shown} with {why}; got {value}")
