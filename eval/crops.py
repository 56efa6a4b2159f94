"""Small held-out pictures: the middle of each photo, reduced by area so that little of JPEG or demosaicing is left."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

from ddpmcodec.errors import DdpmcodecError, InputError
from ddpmcodec.progress import silent


def middle(pixels: np.ndarray, side: int, reduce: int) -> np.ndarray | None:
    """Cut (side, side, 3) uint8 from the middle of (H, W, 3), each pixel the mean of `reduce` squared; None where it is too small."""
    small = np.asarray(Image.fromarray(pixels).reduce(reduce))
    height, width = small.shape[:2]
    if min(height, width) < side:
        return None
    top, left = (height - side) // 2, (width - side) // 2
    return small[top : top + side, left : left + side]


def middles(
    pictures: Iterable[tuple[str, np.ndarray]], side: int, reduce: int, skipped: Callable[[str, DdpmcodecError], None] = silent
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the `middle` of each picture that is large enough; `skipped` is told of the others."""
    for name, pixels in pictures:
        crop = middle(pixels, side, reduce)
        if crop is not None:
            yield name, crop
        else:
            needed, (height, width) = side * reduce, pixels.shape[:2]
            skipped(name, InputError(f"{width} x {height} pixels are less than {needed} x {needed}"))


def archive(
    pictures: Iterable[tuple[str, np.ndarray]],
    side: int,
    reduce: int,
    count: int,
    skipped: Callable[[str, DdpmcodecError], None] = silent,
) -> bytes:
    """Cut the middles of the first `count` pictures that are large enough: an .npz file of them; `skipped` as of `middles`.

    Raises:
        InputError: none is.
    """
    cut = [crop for _, crop in itertools.islice(middles(pictures, side, reduce, skipped), count)]
    if not cut:
        raise InputError("no picture is large enough")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=np.stack(cut))
    return buffer.getvalue()
