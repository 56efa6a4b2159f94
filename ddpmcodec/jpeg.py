"""Damage in the scans of a JPEG, of which Pillow says nothing: the decoder goes on with gray, or with blocks in wrong places.

A scan that is whole uses its bytes up, and needs no more. So what follows it may change without the picture changing, and its last bytes
may not. Scans that are cut are found so, and about half of those of which a part is missing; not damage that the decoder finds its way
out of, at a restart marker or by itself.
"""

import io
import re

import numpy as np
from PIL import Image

KINDS = ("JPEG", "MPO")  # formats, as Pillow calls them
MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")  # behind a scan: no escaped byte, no restart
SCAN, END = 0xDA, 0xD9
LAST = 16  # bytes at the end of a scan; of fewer, a picture may show nothing
SHORTEST = 64  # bytes of a scan that is looked at so
NOISE = np.random.default_rng(0).integers(0, 255, 4096, np.uint8).tobytes()  # without a byte that could begin a marker


def is_damaged(data: bytes) -> bool:
    """Whether the last scan of a JPEG ends too early or too late. It is decoded three times."""
    place = _last_scan(data)
    if place is None:
        return False
    begin, end = place
    decoded = _pixels(data)
    if decoded is None:
        return False
    if _pixels(data[:end] + NOISE + data[end:]) != decoded:  # it has needed more
        return True
    return end - begin >= SHORTEST and _pixels(data[: end - LAST] + NOISE[:LAST] + data[end:]) == decoded


def behind(data: bytes) -> int:
    """Return the number of bytes behind the end of a JPEG, but for zeros."""
    place = _last_scan(data)
    return 0 if place is None else len(data[place[1] :].lstrip(b"\xff")[1:].rstrip(b"\0"))


def _last_scan(data: bytes) -> tuple[int, int] | None:
    """Return where the coded bytes of the last scan of the first picture begin and end; None where they do not."""
    at, begin = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == END:
            return None if begin is None else (begin, at)
        if kind == 0xFF:  # a byte that fills
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == SCAN:
            begin, found = at, MARKER.search(data, at)
            if found is None:
                return None
            if data[found.end() - 1] == END:
                return begin, found.start()
            at = found.start()
    return None


def _pixels(data: bytes) -> bytes | None:
    """Return the pixels of a JPEG; None where Pillow finds the damage itself."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.tobytes()
    except Exception:  # as many types as there are faults
        return None
