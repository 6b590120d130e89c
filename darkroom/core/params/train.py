"""The settings of `params.yaml`: one strict model per section; a wrong setting stops at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from darkroom.core.errors import UserError
from darkroom.core.validation_errors import complaints
from darkroom.core.yaml import read_yaml

FILE = "params.yaml"


def _usable(text: str) -> str:
    """Return a name or path as it is. Raises ValueError for one that no file can have."""
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise ValueError(f"expected printable text, got {text[:80]!r}; write it anew")
    if "://" not in text and any(len(part.encode()) > 255 for part in text.split("/")):
        raise ValueError(f"expected at most 255 bytes between slashes, got {text[:40]!r} …")
    return text


Name = Annotated[str, Field(min_length=1), AfterValidator(_usable)]  # of a file, column or source
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=2**53)]  # what any system and table can hold
Issue = Literal[
    "too_small", "too_elongated", "blurry", "dark", "light", "low_information", "greyscale",
    "odd_aspect_ratio", "odd_size", "odd_resolution", "odd_file_size", "low_bits_per_pixel",
    "low_jpeg_quality", "uniform_border", "clipped", "colourless", "colour_cast",
]  # fmt: skip


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")


def is_url(path: str) -> bool:
    """Return whether a path of params.yaml is a URL, such as s3://bucket/photos."""
    return _URL.match(path) is not None


def without_secrets(url: str) -> str:
    """Return the URL without credentials, query and fragment; these may hold passwords or keys."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        _ = parts.port  # a password with a slash in it looks like a port that is no number
    except ValueError:
        return "invalid-url"
    return f"{parts.scheme}://{host}{parts.path}" if host else "invalid-url"


class Section(BaseModel):
    """A part of params.yaml: unknown keys are errors, values never change after reading."""

    # strict: text is no number and `yes` no boolean; infinity switches nothing off
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EngineParams(Section):
    """Who does the work."""

    kind: Literal["local"]
    workers: Annotated[int, Field(ge=0)]
    address: None = None


class SampleSource(Section):
    """The embedded sample."""

    kind: Literal["sample"]

    @property
    def title(self) -> str:
        """Return the name of the source in tables."""
        return "sample"


class LocatedSource(Section):
    """A source that lies somewhere: a path, or a URL such as s3://bucket/photos."""

    path: Name
    name: Name | None = None  # default: the path as written

    @property
    def place(self) -> str:
        """Return the path as tables and messages may show it: without credentials and query."""
        return without_secrets(self.path) if is_url(self.path) else self.path

    @property
    def title(self) -> str:
        """Return the name of the source in tables."""
        return self.name or self.place


class LabelledSource(LocatedSource):
    """Labels from a table, or from the names of the folders that the files are in."""

    labels: Name | None = None
    label_from: Literal["parent"] | None = None
    split_from: Literal["parent", "grandparent"] | None = None

    @model_validator(mode="after")
    def _one_kind_of_label(self) -> "LabelledSource":
        if self.labels and self.label_from:
            raise ValueError("give either `labels` (a table) or `label_from`, not both")
        return self


class FolderSource(LabelledSource):
    """Image files below a folder."""

    kind: Literal["folder"]
    follow_links: bool = False  # true: also where a link leads outside the folder


class ArchiveSource(LabelledSource):
    """Image files in a zip or a tar, packed or not."""

    kind: Literal["archive"]


class WebDatasetSource(LocatedSource):
    """Shards of WebDataset: a path, a glob, or a brace range as shards/{00000..00012}.tar."""

    kind: Literal["webdataset"]
    labels: Name | None = None  # a table; default: what the shards hold beside each image


class ListSource(LocatedSource):
    """Image URLs in a CSV or a text file (one per line); other columns may be labels."""

    kind: Literal["list"]
    url_column: Name = "url"
    checksum_column: Name | None = None  # md5, sha1, sha256 or sha512 of the bytes


Source = Annotated[
    SampleSource | FolderSource | ListSource | ArchiveSource | WebDatasetSource,
    Field(discriminator="kind"),
]


class DownloadParams(Section):
    """Where images come from, and how patient to be."""

    sources: Annotated[list[Source], Field(min_length=1)]
    max_failed_fraction: Fraction
    max_file_bytes: Positive
    timeout_s: Annotated[float, Field(gt=0)]
    retries: Annotated[int, Field(ge=0, le=1000)]
    per_host: Positive
    allow_private_hosts: bool
    max_total_bytes: Positive | None
    user_agent: Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$")]  # fit for a header
    obey_robots_tag: bool
    max_archive_bytes: Positive
    max_archive_ratio: Annotated[float, Field(gt=1)]

    @model_validator(mode="after")
    def _distinct_sources(self) -> "DownloadParams":
        titles = [source.title for source in self.sources]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"sources named {', '.join(twice)} come twice; give each a `name`")
        return self


class CleanParams(Section):
    """What makes an image unusable, and the thresholds of the flags."""

    reject: list[Issue]
    min_side_px: Positive
    max_pixels: Positive
    max_aspect_ratio: Annotated[float, Field(ge=1)]
    blurry_below: Fraction
    dark_below: Fraction
    light_below: Fraction
    low_information_below: Fraction
    greyscale_below: Fraction
    odd_aspect_ratio_below: Fraction
    odd_size_below: Fraction
    odd_resolution_below: Fraction
    odd_file_size_below: Fraction
    low_bits_per_pixel_below: Fraction
    low_jpeg_quality_below: Fraction
    uniform_border_below: Fraction
    clipped_below: Fraction
    colourless_below: Fraction
    colour_cast_below: Fraction
    timeout_s: Annotated[float, Field(gt=0)]
    max_memory_bytes: Positive
    max_failed_fraction: Fraction


class EmbedParams(Section):
    """Which network makes the embeddings."""

    network: str
    layer: str | None
    pool_size: Positive
    alpha: Annotated[float, Field(gt=0)] | None

    @model_validator(mode="after")
    def _bundled_is_whole(self) -> "EmbedParams":
        whole = (self.layer, self.pool_size, self.alpha) == (None, 1, None)
        if self.network == "bundled" and not whole:
            raise ValueError(
                "with network: bundled, layer must be null, pool_size 1 and alpha null; they are"
                " for networks of keras.applications"
            )
        return self


class DedupeParams(Section):
    """When two images are copies, and what then."""

    threshold: Fraction
    candidate_threshold: Fraction
    family_threshold: Fraction
    neighbours: Positive
    label_conflict: Literal["drop", "majority", "error"]
    rated_apart: Literal["keep", "reject"]
    min_class_images: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _in_order(self) -> "DedupeParams":
        if self.candidate_threshold > min(self.family_threshold, self.threshold):
            raise ValueError("candidate_threshold must not exceed the other two thresholds")
        return self


class SplitParams(Section):
    """How much is kept for validation and test."""

    validation: Annotated[float, Field(ge=0, lt=1)]
    test: Annotated[float, Field(ge=0, lt=1)]
    official: Literal["respect", "ignore"]
    map: dict[str, Literal["train", "validation", "test"]]

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "SplitParams":
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must be below 1: nothing is left to train on")
        return self


class AugmentParams(Section):
    """How many new training images to make, and by what."""

    target: Annotated[int, Field(ge=0)]
    balance: Literal["none", "class", "score_bin"]
    operations: Literal["auto"] | list[str | dict[str, Any]]
    # a list in YAML, hence not strict
    operations_per_image: Annotated[tuple[Positive, Positive], Field(strict=False)]
    fill: Literal["reflect", "nearest", "wrap", "constant"]

    @model_validator(mode="after")
    def _least_and_most(self) -> "AugmentParams":
        least, most = self.operations_per_image
        if least > most:
            raise ValueError(f"operations_per_image: expected [least, most], got [{least}, {most}]")
        return self


class Scale(Section):
    """The scale of ratings: `bins` scores evenly spaced from `low` to `high`."""

    low: float
    high: float
    bins: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _upwards(self) -> "Scale":
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self


class Epochs(Section):
    """Epochs of each phase."""

    head: Annotated[int, Field(ge=0)]
    fine_tune: Annotated[int, Field(ge=0)]


class Rates(Section):
    """Learning rate of each phase."""

    head: Annotated[float, Field(gt=0)]
    fine_tune: Annotated[float, Field(gt=0)]


AUTOENCODER_STEP_PX = 16  # a side of the image over that of the code, four halvings


class TrainParams(Section):
    """The model and how it learns."""

    task: Literal["rating", "classification", "one_class", "none"]
    scale: Scale
    normal_class: str | None
    outlier_method: Literal["mahalanobis", "svm", "isolation_forest", "autoencoder", "deep"]
    reference_classes: list[str]
    prepare: list[dict[str, Any]]
    augment: list[dict[str, Any]]
    backbone: str
    alpha: Annotated[float, Field(gt=0)] | None
    weights: str | None
    image_size: Annotated[int, Field(ge=16)]
    unfreeze: Positive | None
    mirror: bool
    epochs: Epochs
    most_per_bin: Positive | None
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
    _check_what_learns(train)
    pretrained = train.backbone == "bundled" or train.weights is not None
    if method in ("mahalanobis", "svm", "isolation_forest") and not pretrained:
        raise ValueError(
            f"outlier_method: {method} reads a backbone that is not trained further, and"
            f" {train.backbone} without weights has learnt nothing: set backbone: bundled"
            " (image_size: 128), or weights: imagenet with a network of keras.applications"
        )


def _check_what_learns(train: TrainParams) -> None:
    """Raise ValueError for settings of a kind of learning that the method has no part of."""
    method = train.outlier_method
    if train.class_weights != "none":
        raise ValueError(
            "class_weights must be none with task: one_class, whose losses weigh no classes; got"
            f" {train.class_weights}"
        )
    if train.augment and method not in ("deep", "autoencoder"):
        raise ValueError(
            f"augment must be [] with outlier_method: {method}, which has no fine-tuning for it to"
            f" apply in; got {train.augment}"
        )
    if train.unfreeze is not None and method != "deep":
        raise ValueError(
            f"unfreeze must be null with outlier_method: {method}, which fine-tunes no backbone;"
            f" got {train.unfreeze}"
        )
    for name in ("weights", "alpha"):
        value = getattr(train, name)
        if value is not None and method == "autoencoder":
            raise ValueError(
                f"{name} must be null with outlier_method: autoencoder, a network of its own that"
                f" learns from nothing, whatever backbone says; got {value}"
            )


class Costs(Section):
    """What each kind of error costs; only their ratio matters."""

    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]


class EvaluateParams(Section):
    """What is measured on the test split."""

    cutoff: float
    positive_class: str | None
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None
    specificity: Annotated[float, Field(gt=0, lt=1)]
    costs: Costs | None
    partial_auc_below: Annotated[float, Field(gt=0, le=1)]
    score_ranges: Annotated[int, Field(ge=2)]
    bootstrap: Annotated[int, Field(ge=100)]


class Params(Section):
    """The whole of params.yaml."""

    seed: int
    engine: EngineParams
    download: DownloadParams
    clean: CleanParams
    embed: EmbedParams
    dedupe: DedupeParams
    split: SplitParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams


def load_params(root: Path) -> Params:
    """Read and check `params.yaml`. Raises UserError naming file, key, value and remedy."""
    path = root / FILE
    if not path.exists():
        raise UserError(f"{path} is absent: run from the repository root, where params.yaml lies")
    return check_params(read_yaml(path), str(path))


def check_params(values: Any, where: str = FILE) -> Params:
    """Validate the values of a params file. Raises UserError listing every wrong key."""
    if not isinstance(values, Mapping):
        got = "nothing" if values is None else repr(values)[:40]
        raise UserError(
            f"{where}: expected sections such as `clean:`, got {got}; git's {FILE} has them all"
        )
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  {line}" for line in complaints(error, Params))
        raise UserError(f"{where} has wrong settings:\n{problems}") from error
    _check_cutoff(params, where)
    return params


def _check_cutoff(params: Params, where: str) -> None:
    """Raise UserError for a cutoff that no mean score can be above, or none below."""
    scale, cutoff = params.train.scale, params.evaluate.cutoff
    if params.train.task == "rating" and not scale.low <= cutoff < scale.high:
        raise UserError(
            f"{where} has wrong settings:\n  evaluate.cutoff: expected a score of train.scale, from"
            f" {scale.low:g} to below {scale.high:g}; got {cutoff:g}; set it to the mean score"
            " above which an image is good"
        )


def original_root(root: Path) -> Path:
    """Return the user's repository, also inside the copy that `dvc exp run --temp` works in."""
    parts = root.resolve().parts
    for position, part in enumerate(parts[:-2]):
        if part == ".dvc" and parts[position + 1 : position + 3] == ("tmp", "exps"):
            return Path(*parts[:position])
    return root.resolve()


def resolve_path(root: Path, path: str) -> Path:
    """Return a path of params.yaml: `~` expanded, relative ones against the original repository."""
    try:
        return original_root(root) / Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{FILE}: path {path}: nobody's home folder is known by that name; write it out"
        ) from error
