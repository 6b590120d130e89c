"""The error that a user can act on, and text of a user's that is fit to be shown."""

import re

LONGEST = 200  # characters of a name in a message
# Controls, and what turns the direction of writing.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class UserError(Exception):
    """A setting or an input stops the stage; the message says what to do. Shown without a trace."""


def visible(text: str) -> str:
    """Return text whose control characters are written out: a file's name may steer a terminal."""
    return _STEERING.sub(lambda found: repr(found[0])[1:-1], text)
