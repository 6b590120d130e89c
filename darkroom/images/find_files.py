"""Finding the files below a folder: hidden ones are only counted, links never lead in a circle.

Links to files are followed where they stay inside the folder; with `follow_links` all links are,
wherever they lead.
"""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.explain import explain

logger = logging.getLogger(__name__)

# By which images are recognised where a folder holds other files as well.
IMAGE_EXTENSIONS = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm",
    ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".jp2", ".j2k",
}  # fmt: skip

# What systems and tools leave in folders, which nobody misses; and `._a.jpg`, of macOS.
LITTER = {".DS_Store", ".git", ".gitignore", ".gitattributes", ".dvc", ".dvcignore", ".gitkeep"}


def find_files(folder: Path, follow_links: bool) -> Iterator[Path]:
    """Yield each file that is not hidden. Raises UserError for a folder that cannot be read."""
    inside = folder.resolve()
    outside = 0
    refused: list[OSError] = []
    hidden: list[str] = []
    for parent, files in _folders(folder, follow_links, refused, hidden):
        for file in files:
            path = Path(f"{parent}{os.sep}{file}")
            kind = _kind(path)
            if stat.S_ISLNK(kind) and path.is_file():
                if not follow_links and not path.resolve().is_relative_to(inside):
                    outside += 1
                else:
                    yield path
            elif stat.S_ISREG(kind):
                yield path
    if outside:
        logger.warning(
            "%s: %d links lead outside and are passed over; follow_links: true takes them in",
            folder, outside,
        )  # fmt: skip
    if hidden:
        logger.warning(
            "%s: %d files are hidden, or in hidden folders, and are passed over, as %s; give what"
            " is wanted a name without a dot in front",
            folder, len(hidden), os.path.relpath(hidden[0], folder),
        )  # fmt: skip
    if refused:
        if isinstance(refused[0], PermissionError):
            raise UserError(
                f"no permission to read {refused[0].filename}; give yourself read access"
            )
        raise UserError(explain(refused[0]))


def _kind(path: Path) -> int:
    """Return the mode of a file or link, 0 where it is gone by now: one look, not three."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def find_image_files(folder: Path) -> list[Path]:
    """Return the files below a folder that are images by their extension, in order of path."""
    files = find_files(folder, follow_links=True)
    return sorted(path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS)


def _folders(
    folder: Path, follow: bool, refused: list[OSError], hidden: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder with its files; one that contains itself only once.

    What is hidden goes to `hidden`, but for what systems leave everywhere.
    """
    above: dict[str, frozenset[tuple[int, int]]] = {}
    # os.walk, since Path.walk comes with Python 3.12
    for parent, folders, files in os.walk(folder, onerror=refused.append, followlinks=follow):
        if follow:
            status = Path(parent).stat()
            around = above.get(str(Path(parent).parent), frozenset())
            here = (status.st_dev, status.st_ino)
            if here in around:  # a link to a folder around it
                folders.clear()
                continue
            above[parent] = around | {here}
        hidden += _hidden(parent, folders, files)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield parent, sorted(name for name in files if not name.startswith("."))


def _hidden(parent: str, folders: list[str], files: list[str]) -> Iterator[str]:
    """Yield the hidden files of a folder, and every file of its hidden folders."""
    for name in sorted(files):
        if name.startswith(".") and name not in LITTER and not name.startswith("._"):
            yield f"{parent}{os.sep}{name}"
    for name in sorted(folders):
        if name.startswith(".") and name not in LITTER:
            for below, _, inside in os.walk(f"{parent}{os.sep}{name}"):
                yield from (f"{below}{os.sep}{file}" for file in sorted(inside))
