"""The A section: alpha, coded exactly, as a PNG of 8-bit gray."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from ddpmcodec.errors import CorruptFileError
from ddpmcodec.format.header import Header
from ddpmcodec.format.sections import crc

PNG = b"\x89PNG\r\n\x1a\n"  # how a file begins


def pack(alpha: np.ndarray) -> bytes:
    """Return the body of the section for alpha, (P H, W) uint8: the smallest of several PNGs."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", optimize=True)
    return min([buffer.getvalue(), *(_png(alpha, *filtered) for filtered in _filtered(alpha))], key=len)


def _filtered(alpha: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the filters of PNG that suit masks, by number, and what they leave: none, the pixel to the left, the one above."""
    yield 0, alpha
    yield 1, np.diff(alpha, axis=1, prepend=np.uint8(0))
    yield 2, np.diff(alpha, axis=0, prepend=np.uint8(0))


def _png(alpha: np.ndarray, number: int, rest: np.ndarray) -> bytes:
    """Return a PNG whose rows have one filter throughout, given what it leaves; Pillow chooses one for each row, by a guess."""
    height, width = alpha.shape
    rows = np.concatenate([np.full((height, 1), number, np.uint8), rest], 1)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return PNG + b"".join(struct.pack(">I", len(body)) + kind + body + crc(kind + body) for kind, body in chunks)


def unpack(body: bytes, header: Header) -> np.ndarray:
    """Return the alpha in the body of the section, (P H, W) uint8.

    Raises:
        CorruptFileError: the body is no gray PNG of 8 bits and the pictures' size.
    """
    from ddpmcodec import opening

    size = (header.width, header.height * header.pictures)
    try:
        with opening.opened(_critical(body), size[0] * size[1], ["PNG"]) as image:
            if image.size == size and [tile[3] for tile in image.tile] == ["L"]:  # not L;4
                return np.asarray(image)
    except Exception as e:  # what Pillow raises for damaged files has many types
        raise CorruptFileError(f"the alpha channel is damaged: {' '.join(str(e).split())}") from e
    raise CorruptFileError(f"the alpha channel is not of 8 bits and {size[0]} x {size[1]} pixels")


def _critical(png: bytes) -> bytes:
    """Return a PNG without its ancillary chunks: none of them changes alpha, and a forged one may take any time to read."""
    chunks, begin = [png[:8]], 8
    while begin < len(png):
        end = begin + 12 + int.from_bytes(png[begin : begin + 4], "big")
        if png[begin + 4 : begin + 5].isupper():
            chunks.append(png[begin:end])
        begin = end
    return b"".join(chunks)
