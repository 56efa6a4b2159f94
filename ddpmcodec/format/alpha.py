"""The A section: alpha, exactly, as a PNG of 8-bit gray."""

import io
import warnings

import numpy as np

from ddpmcodec.errors import CorruptFileError
from ddpmcodec.format.header import Header


def pack(alpha: np.ndarray) -> bytes:
    """(P H, W) uint8 as the body of a section."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def unpack(body: bytes, header: Header) -> np.ndarray:
    """(P H, W) uint8.

    Raises:
        CorruptFileError: it is no gray PNG of the pictures' size.
    """
    from PIL import Image

    size = (header.width, header.height * header.pictures)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(_critical(body)), formats=["PNG"]) as image:
                if image.size == size and [tile[3] for tile in image.tile] == ["L"]:  # not L;4
                    return np.asarray(image)
    except Exception as e:  # what Pillow raises for damaged files has many types
        raise CorruptFileError(f"the alpha channel is damaged: {' '.join(str(e).split())}") from e
    raise CorruptFileError(f"the alpha channel is not of 8 bits and {size[0]} x {size[1]} pixels")


def _critical(png: bytes) -> bytes:
    """A PNG without the chunks that a decoder may skip: none of them changes alpha, and each takes as much time as it is made to take."""
    kept, at = [png[:8]], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 5].isupper():
            kept.append(png[at:end])
        at = end
    return b"".join(kept)
