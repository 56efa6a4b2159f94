"""The exact picture, where the size asked for has room for it: no lossy file is to be larger than the lossless one."""

import io
from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from ddpmcodec.encoder import EncodeOptions, Encoding
from ddpmcodec.picture import Picture
from ddpmcodec.progress import Note
from ddpmcodec.target import Bytes, Lossless, Psnr, Quality, Rate, Score, Target

USED_PERCENT = 95  # of a size asked for: a file that uses less of it has no use for more
PNGS = 1.5  # our lossless files of photos have 2/3 of a PNG's bytes
CHANNEL_BITS = 8


def exact_or_as_is(
    encoding: Encoding,
    picture: Picture,
    target: Target,
    options: EncodeOptions,
    encode: Callable[[Target, EncodeOptions], Encoding],
    note: Note,
) -> Encoding:
    """Return the lossless encoding of a picture where the size asked for, or the lossy file's own, has room for it, else the lossy one.

    It is tried, which takes as long again, where the lossy file has left bytes over, or a PNG would nearly fit.

    Args:
        encode: encodes the picture to another end.
        note: called with what is better about the file, or worse, than what was asked for.
    """
    height, width = picture.pixels.shape[:2]
    match target:
        case Bytes():
            size = target.count
        case Rate():
            size = int(target.bpp * height * width / 8)
        case Quality() | Psnr() | Score():
            size = len(encoding.data)
        case _:
            return encoding
    full = 100 * len(encoding.data) >= USED_PERCENT * size
    if full and _png_bytes(picture) > PNGS * size:
        return encoding
    exact = encode(Lossless(), replace(options, tune="auto", roi=None))
    if len(exact.data) <= size:
        asked = isinstance(target, Bytes | Rate)
        why = "the size has room for the picture to the last bit" if asked else "to the last bit the picture takes no more bytes"
        note(f"{why}: the file is lossless")
        return exact
    if not full and isinstance(target, Bytes):
        note("the picture has no use for more bytes: it is as good as 8 bits show")
    if 8 * len(encoding.data) > CHANNEL_BITS * (1 if picture.gray else 3) * height * width:
        note("the file is larger than the picture's pixels themselves")
    return encoding


def _png_bytes(picture: Picture) -> int:
    """Return the size of the picture as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels[..., 0] if picture.gray else picture.pixels).save(buffer, "PNG")
    return buffer.tell()
