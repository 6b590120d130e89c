"""How much an archive may unpack to: what exceeds it counts as a decompression bomb."""

from typing import NamedTuple

from darkroom.core.params.download import DownloadParams


class Limits(NamedTuple):
    """How much an archive may unpack to."""

    file_bytes: int  # one member
    archive_bytes: int  # all of them
    ratio: float  # unpacked over packed, counted once more than one file's worth is unpacked

    def is_bomb(self, unpacked: int, packed: int) -> bool:
        """Return whether so many bytes, out of so many packed ones, are too many."""
        if unpacked > self.archive_bytes:
            return True
        return unpacked > self.file_bytes and unpacked > self.ratio * max(packed, 1)


def limits_of(params: DownloadParams) -> Limits:
    """Return the limits that params.yaml sets."""
    return Limits(params.max_file_bytes, params.max_archive_bytes, params.max_archive_ratio)
