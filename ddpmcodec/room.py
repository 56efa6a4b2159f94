"""The exact picture, where the size asked for has room for it: no lossy file is to be larger than the lossless one."""

import io
from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from ddpmcodec.encoder import EncodeOptions, Encoding
from ddpmcodec.picture import Picture
from ddpmcodec.progress import Note
from ddpmcodec.target import Bytes, Lossless, Rate, Target

USED_PERCENT = 95  # of a size asked for: a file that uses less of it has no use for more
PNGS = 1.5  # our lossless files of photos have 2/3 of a PNG's bytes
RAW_BITS = 24


def exact_or_as_is(
    encoding: Encoding,
    picture: Picture,
    target: Target,
    options: EncodeOptions,
    encode: Callable[[Target, EncodeOptions], Encoding],
    note: Note,
) -> Encoding:
    """Return the lossless encoding of a picture where the size asked for has room for it, else the lossy one.

    It is tried, which takes as long again, where the lossy file has left bytes over, or a PNG would nearly fit.

    Args:
        encode: encodes the picture to another end.
        note: called with what is better about the file, or worse, than what was asked for.
    """
    if not isinstance(target, Bytes | Rate):
        return encoding
    height, width = picture.pixels.shape[:2]
    size = target.count if isinstance(target, Bytes) else int(target.bpp * height * width / 8)
    full = 100 * len(encoding.data) >= USED_PERCENT * size
    if full and _png_bytes(picture) > PNGS * size:
        return encoding
    exact = encode(Lossless(), replace(options, tune="auto", roi=None))
    if len(exact.data) <= size:
        note("the size has room for the picture to the last bit: the file is lossless")
        return exact
    if not full and isinstance(target, Bytes):
        note("the picture has no use for more bytes: it is as good as 8 bits show")
    if 8 * len(encoding.data) > RAW_BITS * height * width:
        note("the file is larger than the picture's pixels themselves")
    return encoding


def _png_bytes(picture: Picture) -> int:
    """Return the size of the picture as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels[..., 0] if picture.gray else picture.pixels).save(buffer, "PNG")
    return buffer.tell()
