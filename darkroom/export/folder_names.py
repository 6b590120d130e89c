"""A label as a folder name that every file system accepts; distinct labels stay distinct."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

UNLABELLED = "unlabelled"
MAX_SLUG_BYTES = 100  # file systems allow 255, Windows 260 for a whole path

# names that Windows keeps for devices, also before an extension
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def slug(label: str) -> str:
    """Return a folder name, for every file system, that resembles the label."""
    text = unicodedata.normalize("NFC", label)
    kept = (c if unicodedata.category(c)[0] in "LMN" or c in " -_.+&,'" else "_" for c in text)
    short = "".join(kept).encode()[:MAX_SLUG_BYTES].decode(errors="ignore").rstrip(". ")
    hidden = len(short) - len(short.lstrip(". "))
    name = "_" * hidden + short[hidden:]
    return f"{name}_" if not name or DEVICES.fullmatch(name) else name


def slugs(labels: Iterable[str]) -> dict[str, str]:
    """Return a distinct folder name per label; where two meet, all get digits of their sha256.

    Names that differ by case or accent form alone also meet: file systems merge them.
    """
    names = {label: slug(label) for label in sorted(set(labels))}
    for digits in (8, 64):
        met = Counter(_folded(name) for name in [*names.values(), UNLABELLED])
        for label, name in names.items():
            if met[_folded(name)] > 1:
                digest = hashlib.sha256(label.encode()).hexdigest()[:digits]
                names[label] = f"{slug(label)}-{digest}"
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name.casefold())
