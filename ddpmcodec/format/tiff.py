"""Directories of a TIFF structure, which EXIF is, read as bytes: what single values claim to be costs nothing."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

PREFIX = b"Exif\0\0"  # before EXIF in JPEG, and wherever Pillow writes it
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes, by type
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I"}
RATIONAL = 5
ORDERS = {b"II*\0": "<", b"MM\0*": ">", b"II\0*": "<", b"MM*\0": ">"}  # by what begins a structure; the last two some write


class Entry(NamedTuple):
    """An entry of a directory: `at` is where it begins."""

    tag: int
    kind: int
    number: int
    at: int

    @property
    def size(self) -> int:
        """The bytes that its values claim to have."""
        return SIZES.get(self.kind, 0) * self.number


def order(data: bytes, begin: int = 0) -> str | None:
    """Return the byte order, "<" or ">", of a TIFF structure that begins there; None where none does."""
    return ORDERS.get(data[begin : begin + 4])


def start(data: bytes) -> int:
    """Return where the TIFF structure of EXIF begins."""
    return len(PREFIX) if data.startswith(PREFIX) else 0


def entries(data: bytes, pointer: int | None = None) -> Iterator[Entry]:
    """Yield the entries of a directory of EXIF, up to where it ends too early.

    Args:
        pointer: where the four bytes are that say where the directory is; None for those of the first one.
    """
    begin = start(data)
    endian = order(data, begin)
    if endian is None:
        return
    try:
        at = begin + struct.unpack_from(f"{endian}I", data, begin + 4 if pointer is None else pointer)[0]
        for i in range(struct.unpack_from(f"{endian}H", data, at)[0]):
            entry = at + 2 + 12 * i
            yield Entry._make((*struct.unpack_from(f"{endian}HHI", data, entry), entry))
    except struct.error:
        return


def number(data: bytes, entry: Entry) -> float | None:
    """Return the only value of an entry, a whole or positive rational number; None where it is none."""
    endian, begin = order(data, start(data)), start(data)
    try:
        if entry.number == 1 and entry.kind in INTEGERS:
            return struct.unpack_from(f"{endian}{INTEGERS[entry.kind]}", data, entry.at + 8)[0]
        if entry.number == 1 and entry.kind == RATIONAL:
            at = begin + struct.unpack_from(f"{endian}I", data, entry.at + 8)[0]
            above, below = struct.unpack_from(f"{endian}II", data, at)
            return above / below if below else None
    except struct.error:
        pass
    return None
