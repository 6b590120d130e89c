"""What goes wrong on the way to a server: what may pass, and what does not."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from darkroom.sources.entries import Unreadable

_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE}


class Transient(Exception):
    """A failure that may pass: tried again, after `retry_after` seconds if the server said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        """Keep the reason that the record gets when no try is left."""
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


@contextmanager
def translated() -> Iterator[None]:
    """Translate what aiohttp raises into Transient or Unreadable."""
    try:
        yield
    except TimeoutError as error:
        raise Transient("timeout") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise Unreadable("bad_certificate") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise Transient("unknown_host") from error
    except aiohttp.ClientPayloadError as error:
        raise Transient("incomplete") from error
    except (aiohttp.ClientConnectionError, ConnectionError) as error:
        if getattr(error, "errno", None) in _OUT_OF_FILES:
            raise  # our fault, and no row's
        raise Transient("connection_failed") from error
    except (aiohttp.InvalidURL, ValueError) as error:
        raise Unreadable("bad_url") from error
    except aiohttp.ClientError as error:
        # no HTTP; perhaps what another response left on this connection: so once more
        raise Transient("bad_response") from error
