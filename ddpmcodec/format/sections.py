"""The elements that every part of the file is written with: integers, sections with their checksums, and a cursor that reads them."""

import struct
import zlib
from dataclasses import dataclass

from ddpmcodec.errors import CorruptFileError, TruncatedFileError

CRC_BYTES = 4


@dataclass(frozen=True)
class Section:
    """The place of a section in the file, for `info`: offset and size in bytes, and whether the file has it whole."""

    type: str
    offset: int
    size: int
    whole: bool


def varint(value: int) -> bytes:
    """Return an unsigned LEB128 integer in its shortest form."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def zigzag(value: int) -> int:
    """Return a signed integer as an unsigned one: 2 v for v >= 0, else -2 v - 1."""
    return 2 * value if value >= 0 else -2 * value - 1


def unzigzag(value: int) -> int:
    """Return the signed integer of an unsigned one: the inverse of `zigzag`."""
    return value // 2 if value % 2 == 0 else -(value + 1) // 2


def crc(data: bytes | memoryview) -> bytes:
    """Return the CRC-32 of data, 4 bytes, big endian."""
    return struct.pack(">I", zlib.crc32(data))


def section(kind: str, body: bytes) -> bytes:
    """Return a whole section: type, length, body, checksum."""
    data = kind.encode() + varint(len(body)) + body
    return data + crc(data)


def check(condition: bool, message: str) -> None:
    """Raise CorruptFileError with this message unless the condition holds."""
    if not condition:
        raise CorruptFileError(message)


class Reader:
    """A cursor over bytes, which raises TruncatedFileError where they run out.

    Attributes:
        at: offset of the next byte.
    """

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if size > len(self.data) - self.at:
            needed = self.at + size
            text = f"the data end at byte {len(self.data)}, before the step table is complete: a picture takes {needed} bytes at least"
            raise TruncatedFileError(text, needed=needed)
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        """Return the next integer.

        Raises:
            CorruptFileError: it has more than 63 bits, or is not in its shortest form.
        """
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    break
                return value
        raise CorruptFileError("an integer is longer than it need be, or has more than 63 bits")
