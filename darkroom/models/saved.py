"""The model as it is saved in `data/model/`, written by train and read by whoever predicts.

`model.keras` is for further training, `model.tflite` for prediction (LiteRT starts in a fifth of a
second, and gives the same numbers with any number of threads), `model.json` says what they mean:
task, classes in order, scale, prepared input, input size, parameters, digest of the training data.
A model of one class has `scorer.npz` too: what turns the network's outputs into outlier scores.
All of them repeat byte for byte.
"""

import contextlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.files import write_bytes, write_json
from darkroom.core.params.scale import Scale
from darkroom.filters.preprocess import Step, preprocess, read_steps
from darkroom.images.decode import Pixels
from darkroom.images.grey_range import GreyRange
from darkroom.models import inputs
from darkroom.models.one_class import scores
from darkroom.models.one_class.scores import Scorer
from darkroom.workers.cores import available_cores

if TYPE_CHECKING:
    import keras

CARD = "model.json"
TASKS = ("rating", "classification", "one_class", "none")
KERAS = "model.keras"
LITE = "model.tflite"
SCORER = "scorer.npz"
MAX_DIFFERENCE = 1e-3  # between the two files' outputs; float32 sums differ by about 1e-6
OTHER_MODELS = (
    "the two files are of different models; run `dvc repro -f train`, or take both from one"
    " revision"
)
MAX_PIXELS = 100_000_000  # of a model that does not say
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_FIXED_DATE = "1980-01-01@00:00:00"


@dataclass(frozen=True)
class SavedModel:
    """A trained model, ready to predict; task "none" when nothing was trained."""

    task: str
    classes: tuple[str, ...]  # in the order of the outputs; empty unless classification
    scale: Scale | None  # of ratings
    size_px: int
    rule: inputs.InputRule
    content: bytes  # of model.tflite
    preprocess: tuple[Step, ...] = ()  # filters that every image goes through first
    scorer: Scorer | None = None  # of a model of one class
    normal_class: str | None = None  # the label that it learned from
    reference_classes: tuple[str, ...] = ()  # labels that are neither normal nor outliers
    max_pixels: int = MAX_PIXELS  # of an image that it is asked about: clean's limit
    grey_range: GreyRange | None = None  # of deep greys, as clean found it

    @classmethod
    def load(cls, folder: Path) -> "SavedModel":
        """Read the model in `folder`.

        Raises FileNotFoundError naming what to run, and UserError for a task that is not known, and
        for files that are broken or of different models.
        """
        path = folder / CARD
        if not path.exists():
            raise FileNotFoundError(f"{path} is absent: run `dvc repro train`, which writes it")
        try:
            return cls._read(folder, json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError) as error:  # no JSON, a name or a value missing
            raise UserError(
                f"{path} is no description of a model ({type(error).__name__}: {error}):"
                " run `dvc repro train`, which writes it"
            ) from error

    @classmethod
    def _read(cls, folder: Path, card: dict[str, Any]) -> "SavedModel":
        if card["task"] not in TASKS:
            raise UserError(
                f"{folder / CARD}: expected a model of {', '.join(TASKS)}, got task"
                f" {card['task']!r}; run `dvc repro train` to write it again"
            )
        if card["task"] == "none":
            return cls("none", (), None, 0, "resize", b"")
        scale = Scale.model_validate(card["scale"]) if card["scale"] else None
        size, rule = (card["input"][name] for name in ("size_px", "rule"))
        limit = card["input"].get("max_pixels", MAX_PIXELS)
        numbers = all(isinstance(n, int) and n > 0 for n in (size, limit))
        if not (numbers and rule in ("crop", "resize")):
            raise ValueError(f"input: size_px {size!r}, rule {rule!r} and max_pixels {limit!r}")
        filters = read_steps(card["preprocess"], f"{folder / CARD}: preprocess")
        return cls(
            card["task"], tuple(card["classes"]), scale, size, rule, (folder / LITE).read_bytes(),
            tuple(filters),
            _read_scorer(folder / SCORER, card) if card["task"] == "one_class" else None,
            card.get("normal_class"), tuple(card.get("reference_classes", ())), limit,
            GreyRange(*greys) if (greys := card["input"].get("grey_range")) else None,
        )  # fmt: skip

    @property
    def min_side(self) -> int | None:
        """Return down to which side in px a JPEG may be decoded; None for whole images."""
        return inputs.min_side(self.size_px, self.rule, self.task, bool(self.preprocess))

    def predict(self, images: Iterable[Pixels]) -> NDArray[Any]:
        """Return (n, bins or classes) float32, rows sum to 1, for RGB uint8 images of any size.

        A model of one class returns (n, 1) float64 instead: outlier scores, higher = more outlying.

        JPEGs are to be decoded down to `min_side`, as they were in training. Images may be a
        generator: about a batch of them is in memory at a time. Raises UserError for the task
        "none", and where model.tflite belongs to a model of another task.
        """
        if self.task == "none":
            raise UserError(
                "data/model holds no model, since train.task was none: set it to rating,"
                " classification or one_class in params.yaml and run `dvc repro`"
            )
        outputs = inputs.predict_each(
            _LiteNetwork(self.content), inputs.prefetch(self._views, images)
        )
        if self.scorer:
            if len(outputs) and not self.scorer.accepts(outputs.shape[1]):
                raise UserError(
                    f"{LITE}: its {outputs.shape[1]} outputs are not those that {SCORER},"
                    f" {self.scorer.method}, was fitted on: {OTHER_MODELS}"
                )
            return self.scorer.score(outputs)[:, None]
        expected = self.scale.bins if self.scale else len(self.classes)
        if len(outputs) and outputs.shape[1] != expected:
            raise UserError(
                f"{LITE}: expected {expected} outputs, as {CARD} says of this {self.task} model,"
                f" got {outputs.shape[1]}: {OTHER_MODELS}"
            )
        return outputs.reshape(-1, expected)

    def _views(self, image: Pixels) -> inputs.Views:
        return inputs.views(preprocess(image, self.preprocess), self.size_px, self.rule)


def _read_scorer(path: Path, card: dict[str, Any]) -> Scorer:
    """Read the scorer that belongs to the card. Raises UserError for a broken or another one."""
    try:
        scorer = scores.from_bytes(path.read_bytes())
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no whole scorer: run `dvc repro -f train`") from error
    expected = card["outlier_method"]
    if scorer.method != expected:
        raise UserError(
            f"{path}: expected {expected}, as {CARD} says, got {scorer.method}: {OTHER_MODELS}"
        )
    return scorer


class _LiteNetwork:
    """A LiteRT interpreter for batches of any length."""

    def __init__(self, content: bytes) -> None:
        """Load the network."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._network = Interpreter(model_content=content, num_threads=available_cores())
        except ValueError as error:
            raise UserError(
                f"data/model/{LITE} is no whole model ({error}): run `dvc repro train`"
            ) from error
        self._input = self._network.get_input_details()[0]
        self._output = self._network.get_output_details()[0]["index"]
        self._length = -1

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the outputs of (b, size, size, 3) float32 in [0, 255]."""
        if len(batch) != self._length:
            own = tuple(map(int, self._input["shape"][1:]))
            if batch.shape[1:] != own:
                raise UserError(
                    f"{LITE}: expected images of {batch.shape[1:]}, as {CARD} says, but it takes"
                    f" {own}: {OTHER_MODELS}"
                )
            self._network.resize_tensor_input(self._input["index"], batch.shape)
            self._network.allocate_tensors()
            self._length = len(batch)
        self._network.set_tensor(self._input["index"], batch)
        self._network.invoke()
        return np.array(self._network.get_tensor(self._output))


def write_model(
    folder: Path, model: "keras.Model", card: dict[str, Any], probe: NDArray[np.float32],
    scorer: Scorer | None = None,
) -> float:  # fmt: skip
    """Publish the files, and return how far the two networks differ on `probe`.

    `probe` is (b, size, size, 3) in [0, 255]. The difference is relative to the largest output,
    unless that is below 1. Raises RuntimeError for more than `MAX_DIFFERENCE`, before anything is
    published.
    """
    lite = convert(model)
    expected = np.asarray(model(probe, training=False))
    largest = max(1.0, float(np.abs(expected).max()))  # of features, which may go beyond 1
    difference = float(np.abs(_LiteNetwork(lite)(probe) - expected).max()) / largest
    if not difference <= MAX_DIFFERENCE:
        raise RuntimeError(
            f"{LITE}: expected the outputs of {KERAS} within {MAX_DIFFERENCE}, got a"
            f" difference of {difference}; the conversion of this backbone cannot be trusted"
        )
    (folder / SCORER).unlink(missing_ok=True)  # another model's
    write_bytes(folder / KERAS, keras_bytes(model))
    write_bytes(folder / LITE, lite)
    if scorer:
        write_bytes(folder / SCORER, scores.to_bytes(scorer))
    write_json(folder / CARD, card)
    return difference


def write_none(folder: Path) -> None:
    """Publish a `model.json` that says that nothing was trained; stale networks are removed."""
    for name in (KERAS, LITE, SCORER):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / CARD, {"task": "none"})


def convert(model: "keras.Model") -> bytes:
    """Return the network in LiteRT's format, float32, for batches of any length."""
    import tensorflow as tf

    with contextlib.redirect_stdout(io.StringIO()):  # it prints the addresses of all variables
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def keras_bytes(model: "keras.Model") -> bytes:
    """Return the `.keras` file of a model, equal byte for byte when the model is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KERAS
        model.save(path)
        return fix_times(path.read_bytes())


def fix_times(content: bytes) -> bytes:
    """Return a `.keras` file without what differs between saves: times and addresses."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as given,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as fixed,
    ):
        for name in sorted(given.namelist()):
            data = given.read(name)
            if name == "metadata.json":
                data = json.dumps(json.loads(data) | {"date_saved": _FIXED_DATE}).encode()
            if name == "config.json":
                data = _number_objects(data.decode()).encode()
            fixed.writestr(zipfile.ZipInfo(name, _FIXED_TIME), data)
    return stream.getvalue()


def _number_objects(config: str) -> str:
    """Replace the addresses by which Keras tells shared objects apart with 1, 2, 3 …."""
    numbers: dict[str, int] = {}
    return re.sub(
        r'("shared_object_id": )(\d+)',
        lambda match: f"{match[1]}{numbers.setdefault(match[2], len(numbers) + 1)}",
        config,
    )
