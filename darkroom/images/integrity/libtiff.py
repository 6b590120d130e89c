"""What libtiff has to say: Pillow hears neither its warnings nor most of its errors.

Fax codes have no checksum. libtiff fills the lines that it cannot read with white and only reports
it, so the file is read once more by the same library, with a listener.
"""

import ctypes
import os
import tempfile
from functools import cache

from PIL import _imaging

from darkroom.images.errors import DecodeError, corrupt

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


def require_silence(content: bytes) -> None:
    """Read every strip or tile of the first page. Raises DecodeError at the first message."""
    library = _library()
    messages: list[str] = []
    listener = _Handler(lambda module, words, _: messages.append(_text(module, words)))
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        before = library.TIFFSetErrorHandler(None), library.TIFFSetWarningHandler(None)
        try:
            handle = library.TIFFFdOpen(os.dup(file.fileno()), b"image", b"r")
            if not handle:
                raise corrupt("libtiff does not open it")
            library.TIFFSetErrorHandler(ctypes.cast(listener, ctypes.c_void_p))
            library.TIFFSetWarningHandler(ctypes.cast(listener, ctypes.c_void_p))
            _read_all(library, handle, messages)
            library.TIFFClose(handle)
        finally:
            library.TIFFSetErrorHandler(before[0])
            library.TIFFSetWarningHandler(before[1])
    if messages:
        raise corrupt(messages[0])


def _read_all(library: ctypes.CDLL, handle: int, messages: list[str]) -> None:
    kind = "Tile" if library.TIFFIsTiled(handle) else "Strip"
    size = getattr(library, f"TIFF{kind}Size")(handle)
    buffer = ctypes.create_string_buffer(max(1, size))
    for number in range(getattr(library, f"TIFFNumberOf{kind}s")(handle)):
        if not messages:
            getattr(library, f"TIFFReadEncoded{kind}")(handle, number, buffer, size)


def _text(module: bytes | None, words: bytes | None) -> str:
    return f"{(module or b'').decode()}: {(words or b'').decode()}"


@cache
def _library() -> ctypes.CDLL:
    """Return the libtiff that Pillow has loaded. Raises DecodeError where there is none."""
    library = ctypes.CDLL(_imaging.__file__)  # a symbol is looked up in what it depends on, too
    pointer, number, size = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_ssize_t
    signatures = {
        "TIFFSetErrorHandler": (pointer, [pointer]),
        "TIFFSetWarningHandler": (pointer, [pointer]),
        "TIFFFdOpen": (pointer, [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p]),
        "TIFFClose": (None, [pointer]),
        "TIFFIsTiled": (ctypes.c_int, [pointer]),
        **{f"TIFF{kind}Size": (size, [pointer]) for kind in ("Tile", "Strip")},
        **{f"TIFFNumberOf{kind}s": (number, [pointer]) for kind in ("Tile", "Strip")},
        **{
            f"TIFFReadEncoded{kind}": (size, [pointer, number, pointer, size])
            for kind in ("Tile", "Strip")
        },
    }
    try:
        for name, (result, arguments) in signatures.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise DecodeError("unsupported_format", "TIFF with fax codes: no libtiff") from error
    return library
