"""The stream of a JPEG (ITU-T T.81): its markers up to the end, and whether all scans are there.

libjpeg itself finds what breaks inside a scan. It says nothing of a progressive picture that lacks
its last scans as long as an end marker follows, nor does it limit their number. In arithmetic
coding it finds nothing at all; hardly anybody writes such files and no browser shows them.
"""

import re

from darkroom.images.errors import DecodeError, corrupt, truncated

MAX_SCANS = 500  # each costs a pass over the picture; encoders write 10 or so (djpeg -maxscans)

_EOI, _SOS, _END = 0xD9, 0xDA, b"\xff\xd9"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE, _ARITHMETIC = {0xC2, 0xC6, 0xCA, 0xCE}, {*range(0xC9, 0xD0)} - {0xCC}
_ALONE = {0x00, 0x01, *range(0xD0, 0xD8)}  # markers without a length
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def check(content: bytes) -> None:
    """Walk the markers. Raises DecodeError where the stream ends before the picture does."""
    precisions: dict[int, list[int]] = {}  # component → of each coefficient the bits still missing
    progressive, scans, at = False, 0, 2
    while (found := _NEXT_MARKER.search(content, at)) is not None:
        marker, at = content[found.end() - 1], found.end()
        if marker == _EOI:
            if not _all_seen(precisions):
                raise truncated("the last scans are missing")
            return
        if marker in _ALONE:
            continue
        length = int.from_bytes(content[at : at + 2], "big")
        segment = content[at + 2 : at + length]
        at += length
        if at > len(content):
            break
        if marker in _ARITHMETIC:
            raise DecodeError("unsupported_format", "JPEG with arithmetic coding")
        if marker in _FRAMES and not precisions:
            progressive = marker in _PROGRESSIVE
            precisions = {component: [_UNSEEN] * 64 for component in segment[6::3]}
        if marker == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise corrupt(f"more than {MAX_SCANS} scans")
            _note_scan(segment, precisions, progressive)
            if not progressive and content.rfind(_END) > at and _all_seen(precisions):
                return  # libjpeg reads this one scan and asks for the end
    if content.rstrip(b"\0").endswith(_END):  # the end is there, what leads to it is not
        raise corrupt("the markers are out of step")
    raise truncated("the end is missing")


_UNSEEN = 99


def _note_scan(segment: bytes, precisions: dict[int, list[int]], progressive: bool) -> None:
    """Note which bits of which coefficients a scan brings (T.81, G.1.1.1)."""
    if len(segment) < 4 or len(segment) < 2 * segment[0] + 4:
        raise corrupt("a scan's header is too short")
    first, last, approximation = segment[1 + 2 * segment[0] :][:3] if progressive else (0, 63, 0)
    for component in segment[1 : 1 + 2 * segment[0] : 2]:
        if component in precisions:
            reached = precisions[component]
            reached[first : last + 1] = [approximation & 15] * len(reached[first : last + 1])


def _all_seen(precisions: dict[int, list[int]]) -> bool:
    return not any(any(missing) for missing in precisions.values())
