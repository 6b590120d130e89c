"""Networks of keras.applications by name, and what to say when one cannot be had.

TensorFlow is imported by the functions that need it.
"""

import inspect
import os
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from stages.lib.failures import UserError

if TYPE_CHECKING:
    import keras

# What keras raises for sizes and widths that cannot be (the first), and for files that hold no
# weights, or those of another network.
UNUSABLE = (ValueError, OSError, KeyError, BadZipFile)
A_FILE = "\nA file must hold the weights of that network, of the same alpha."


def build_application(
    setting: str, name: str, size_px: int, alpha: float | None, weights: str | None, otherwise: str
) -> "keras.Model":
    """Build the network up to its last feature map: (n, size, size, 3), scaled → (n, h, w, c).

    `setting` is the key of params.yaml that names it, `otherwise` what helps when `weights` cannot
    be fetched. Raises UserError for what Keras cannot find, fetch, read or build.
    """
    make, section = _find(setting, name), setting.split(".")[0]
    settings = {"include_top": False, "input_shape": (size_px, size_px, 3), "weights": weights}
    if alpha is not None:
        if "alpha" not in inspect.signature(make).parameters:
            raise UserError(
                f"params.yaml: {section}.alpha: {name} has no width to choose, got {alpha}; set"
                f" {section}.alpha to null"
            )
        settings["alpha"] = alpha
    try:
        return make(**settings)
    except UNUSABLE as error:
        raise UserError(
            f"params.yaml: {section}: keras cannot build {name} with image_size {size_px}, alpha"
            f" {alpha}, weights {weights!r}: {error}{A_FILE * (weights not in (None, 'imagenet'))}"
        ) from error
    except Exception as error:  # keras raises a bare Exception when a download fails
        if "URL fetch failure" not in str(error):
            raise
        raise UserError(
            f"{error}\nThe weights of {name} could not be fetched. Put the file"
            f" {_file_wanted(error)} there yourself (from a machine with a connection), or"
            f" {otherwise}."
        ) from error


def scale_for(setting: str, name: str, images: Any) -> Any:
    """Scale images in [0, 255] as the network was trained: `preprocess_input` of its module."""
    return sys.modules[_find(setting, name).__module__].preprocess_input(images)


def _find(setting: str, name: str) -> Any:
    import keras

    known = {n: f for n, f in vars(keras.applications).items() if inspect.isfunction(f)}
    if name not in known:
        own = "small, bundled" if setting == "train.backbone" else "bundled"
        raise UserError(
            f"params.yaml: {setting}: expected {own} or a network of keras.applications"
            f" ({', '.join(sorted(known))}), got {name!r}"
        )
    return known[name]


def _file_wanted(error: Exception) -> Path:
    """Return where Keras looks for the file that it could not fetch.

    The name is an argument of `get_file`, and not always the last part of the address.
    """
    trace = error.__traceback__
    frame: FrameType | None = None
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "get_file":
            frame = trace.tb_frame
        trace = trace.tb_next
    name = str(frame.f_locals.get("fname")) if frame else str(error).split()[4].rsplit("/", 1)[-1]
    home = os.environ.get("KERAS_HOME", "~/.keras")
    return Path(home).expanduser() / "models" / name
