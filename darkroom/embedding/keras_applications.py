"""Networks of keras.applications by name, and what to say when one cannot be had.

TensorFlow is imported by the functions that need it.
"""

import inspect
import sys
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from darkroom.core.errors import UserError

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
    except Exception as error:  # keras raises a bare one when a download fails
        wanted, fetched = (_local_of(error, name) for name in ("download_target", "weights_path"))
        if wanted:
            raise UserError(
                f"{error}\nThe weights of {name} could not be fetched. Put the file {wanted} there"
                f" yourself (from a machine with a connection), or {otherwise}."
            ) from error
        if not isinstance(error, UNUSABLE):
            raise
        remedy = f"\nDelete {fetched} and run again: it is fetched again." if fetched else ""
        remedy = remedy if weights in (None, "imagenet") else A_FILE
        raise UserError(
            f"params.yaml: {section}: keras cannot build {name} with image_size {size_px}, alpha"
            f" {alpha}, weights {weights!r}: {error}{remedy}"
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


def _local_of(error: Exception, name: str) -> str | None:
    """Return what keras last called `name` on the way to its error, None where it did not.

    In its `get_file` the file that it is fetching is `download_target`, and in each network the one
    that it has is `weights_path`; neither is in what it says.
    """
    found, trace = None, error.__traceback__
    while trace is not None:
        found, trace = trace.tb_frame.f_locals.get(name, found), trace.tb_next
    return found and str(found)
