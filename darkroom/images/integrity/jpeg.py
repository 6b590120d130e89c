"""The stream of a JPEG (ITU-T T.81): its markers up to the end, and whether all scans are there.

libjpeg itself finds what breaks inside a scan, and complains of what stands between the segments.
It says nothing of a progressive picture that lacks its last scans as long as an end marker follows,
nor does it limit their number. In arithmetic coding it finds nothing at all; hardly anybody writes
such files and no browser shows them.
"""

import re
from collections.abc import Iterator

from darkroom.images.errors import DecodeError, corrupt, truncated
from darkroom.images.integrity.picture import Picture

MAX_SCANS = 500  # each costs a pass over the picture; encoders write 10 or so (djpeg -maxscans)

_SOI, _EOI, _SOS, _END = 0xD8, 0xD9, 0xDA, b"\xff\xd9"
_TABLES = {0xC4, 0xDB, 0xDC, 0xDD, _SOS}  # Huffman, quantisation, lines, restarts, the scan itself
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE, _ARITHMETIC = {0xC2, 0xC6, 0xCA, 0xCE}, {*range(0xC9, 0xD0)} - {0xCC}
_APPLICATIONS = {*range(0xE0, 0xF0), 0xFE}  # and comments
_ALONE = {0x01, _SOI, _EOI}  # markers without a length
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_Segment = tuple[int, int, int]  # marker, where it begins, where what belongs to it ends


def picture(content: bytes) -> Picture:
    """Walk the markers. Raises DecodeError where the stream ends before the picture does."""
    precisions: dict[int, list[int]] = {}  # component → of each coefficient the bits still missing
    progressive, scans = False, 0
    for marker, start, end in _segments(content):
        if marker == _EOI:
            if not _all_seen(precisions):
                raise truncated("the last scans are missing")
            return Picture(content)
        if marker in _ARITHMETIC:
            raise DecodeError("unsupported_format", "JPEG with arithmetic coding")
        segment = content[start + 4 : end]
        if marker in _FRAMES and not precisions:
            progressive = marker in _PROGRESSIVE
            precisions = {component: [_UNSEEN] * 64 for component in segment[6::3]}
        if marker == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise corrupt(f"more than {MAX_SCANS} scans")
            _note_scan(segment, precisions, progressive)
            if not progressive and content.rfind(_END) > end and _all_seen(precisions):
                return Picture(content)  # libjpeg reads this one scan and asks for the end
    if content.rstrip(b"\0").endswith(_END):  # the end is there, what leads to it is not
        raise corrupt("the markers are out of step")
    raise truncated("the end is missing")


def bare(content: bytes) -> bytes:
    """Return what makes the picture, as it stands, up to its end marker. Raises DecodeError.

    Stray bytes between segments go, and what programs attach, except what says how colours and
    orientation are meant, where it is well formed.
    """
    parts, profile = [content[:2]], list[bytes]()
    for marker, start, end in _segments(content):
        segment = content[start:end]
        if marker == _SOI or marker not in _TABLES | _FRAMES | _APPLICATIONS | _ALONE:
            raise corrupt(f"the marker {marker:#x} does not belong here")
        if marker == _SOS:
            found = _NEXT_MARKER.search(content, end)
            segment = content[start : found.start() if found else len(content)]
        if segment[1:2] == b"\xe2" and segment[4:16] == b"ICC_PROFILE\0":
            profile.append(segment)
        if marker not in _APPLICATIONS or _is_needed(segment):
            parts.append(segment)
        if marker == _EOI:
            break
    numbers = [(part[16:17], part[17:18]) for part in profile]
    if sorted(numbers) == [(bytes([n + 1]), bytes([len(profile)])) for n in range(len(profile))]:
        parts[1:1] = profile
    return b"".join(parts)


def _is_needed(segment: bytes) -> bool:
    """Say whether an attached segment says how the colours or the orientation are meant."""
    marker, words, size = segment[1], segment[4:], len(segment)
    if marker == 0xE0:
        return words.startswith(b"JFIF\0\1") and size >= 18
    if marker == 0xEE:
        return words.startswith(b"Adobe") and size >= 16
    return marker == 0xE1 and words.startswith((b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"))


def _segments(content: bytes) -> Iterator[_Segment]:
    """Yield each segment that is whole; the data of a scan stands behind its own."""
    at = 2
    while (found := _NEXT_MARKER.search(content, at)) is not None:
        marker, at = content[found.end() - 1], found.end()
        if marker not in _ALONE:
            at += int.from_bytes(content[at : at + 2], "big")
        if at > len(content):
            return
        yield marker, found.end() - 2, at


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
