"""The paths and URLs of params.yaml."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from darkroom.core.errors import UserError

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


def original_root(root: Path) -> Path:
    """Return the user's repository, also inside the copy that `dvc exp run --temp` works in."""
    path = root.resolve().as_posix()
    return Path(path.split("/.dvc/tmp/exps/")[0] or "/")


def resolve_path(root: Path, path: str) -> Path:
    """Return a path of params.yaml: `~` expanded, relative ones against the original repository."""
    try:
        return original_root(root) / Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"params.yaml: path {path}: nobody's home folder is known by that name; write it out"
        ) from error
