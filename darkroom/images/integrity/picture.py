"""What of a file makes its picture."""

from typing import NamedTuple


class Picture(NamedTuple):
    """The picture of a file, without what stands beside it and may be broken."""

    content: bytes  # for the plugin of its format
    is_odd: bool = False  # whether something beside it is broken
