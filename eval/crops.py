"""Small held-out pictures: the middle of each photo, reduced by area so that little of JPEG or demosaicing is left."""

import io
import itertools
from collections.abc import Iterable

import numpy as np
from PIL import Image

from ddpmcodec.errors import InputError


def middle(pixels: np.ndarray, side: int, reduce: int) -> np.ndarray | None:
    """Cut (side, side, 3) uint8 from the middle of (H, W, 3), each pixel the mean of `reduce` squared; None where it is too small."""
    small = np.asarray(Image.fromarray(pixels).reduce(reduce))
    height, width = small.shape[:2]
    if min(height, width) < side:
        return None
    top, left = (height - side) // 2, (width - side) // 2
    return small[top : top + side, left : left + side]


def archive(pictures: Iterable[tuple[str, np.ndarray]], side: int, reduce: int, count: int) -> bytes:
    """Cut the middles of the first `count` pictures that are large enough: an .npz file of them.

    Raises:
        InputError: none is.
    """
    cut = [*itertools.islice((crop for _, pixels in pictures if (crop := middle(pixels, side, reduce)) is not None), count)]
    if not cut:
        raise InputError("no picture is large enough")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=np.stack(cut))
    return buffer.getvalue()
