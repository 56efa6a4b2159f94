"""Regions of interest: parts of a picture that get finer noise than the rest, as a map of the noise's field G (format/shape.py)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ddpmcodec import picture
from ddpmcodec.errors import PictureError
from ddpmcodec.format import shape as shapes

DEFAULT_GAIN = 6.0  # dB
UNITS_OF_DB = 4 * math.log2(10) / 20  # of k = 4 log2 G
MIN_GAIN = 0.5 / UNITS_OF_DB  # .75 dB: less would be none
MAX_GAIN = shapes.COARSEST / UNITS_OF_DB  # 36 dB

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Roi:
    """Regions of interest of a picture as it is displayed.

    Attributes:
        boxes: (x, y, width, height) of each region, in pixels.
        mask: in place of boxes, (h, w) uint8 of any size, stretched over the picture: 255 is finest, 0 coarsest.
        gain: dB by which the noise of the finest part is below that of the coarsest, .75 to 36, in steps of 1.5.

    Raises:
        ValueError: the gain is out of its range, or a box has no number of pixels.
        PictureError: the mask is empty, or no array of 8 bits.
    """

    boxes: tuple[Box, ...] = ()
    mask: np.ndarray | None = None
    gain: float = DEFAULT_GAIN

    def __post_init__(self):
        if not isinstance(self.gain, int | float | np.number) or not MIN_GAIN <= self.gain <= MAX_GAIN:
            raise ValueError(f"roi_gain = {self.gain} is out of range: {MIN_GAIN:.2f} ... {MAX_GAIN:.1f} dB")
        if not isinstance(self.boxes, Sequence | np.ndarray):
            raise ValueError(f"roi = {self.boxes} are no boxes")
        object.__setattr__(self, "boxes", tuple(map(_box, self.boxes)))
        mask = np.asarray(self.mask)
        if self.mask is not None and (mask.ndim != 2 or mask.dtype != np.uint8 or 0 in mask.shape):
            raise PictureError(f"a mask is a uint8 array (H, W), not {mask.dtype} {mask.shape}", parameter="roi")

    def cells(self, height: int, width: int, cell: int) -> np.ndarray:
        """Return k of each cell of a picture's map, (rows, columns) uint8: 0 is finest. All of a region lies in the finest part.

        Raises:
            PictureError: a box is not inside the picture.
        """
        rows, columns = shapes.grid(height, width, cell)
        fineness = np.zeros((rows, columns))
        if self.mask is not None:
            fineness[:] = _largest(_largest(self.mask, 0, height, cell), 1, width, cell) / 255
        for x, y, w, h in self.boxes:
            if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
                raise PictureError(f"the box {x},{y},{w},{h} is not inside the picture of {width} x {height} pixels", parameter="roi")
            fineness[_touched(y, y + h, cell, rows), _touched(x, x + w, cell, columns)] = 1
        k = np.rint((1 - fineness) * self.gain * UNITS_OF_DB)
        return (k - k.min()).astype(np.uint8)


def _box(values: Sequence[Any]) -> Box:
    """Return a box as integers of Python, which do not overflow as numpy's do; ValueError where it is none."""
    try:
        x, y, width, height = map(int, values)
        valid = (x, y, width, height) == tuple(values) and not any(isinstance(value, bool | np.bool_) for value in values)
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ValueError(f"roi = {values} is no box: x, y, width, height in pixels")
    return x, y, width, height


def _touched(begin: float, end: float, cell: int, count: int) -> slice:
    """Return the cells whose values reach pixels begin ... end: the field is interpolated between their middles."""
    first, last = math.floor(begin / cell - 0.5), math.floor((end - 1) / cell + 0.5)
    return slice(min(max(first, 0), count - 1), min(last, count - 1) + 1)


def _largest(mask: np.ndarray, axis: int, size: int, cell: int) -> np.ndarray:
    """Return along an axis the largest value of the mask, stretched over `size` pixels, that each cell's value reaches."""
    length = mask.shape[axis]
    parts = []
    for i in range(-(-size // cell)):
        begin, end = (min(max((i + share) * cell, 0), size) * length / size for share in (-0.5, 1.5))
        first = min(math.floor(begin), length - 1)
        last = max(first + 1, math.ceil(end))
        parts.append((mask[first:last] if axis == 0 else mask[:, first:last]).max(axis))
    return np.stack(parts, axis)


def load(source: Any, gain: float | None = None, max_pixels: int = picture.MAX_PIXELS) -> Roi:
    """Return the regions that `ddpmcodec.encode` was given: a box or a sequence of boxes, an array or a PIL image as a mask.

    An array (N, 4) of another type than uint8 and bool has boxes.

    Raises:
        PictureError: it is none of these, or no mask that can be used.
        ValueError: a box or the gain is out of its range.
    """
    if isinstance(source, Roi):
        return source
    gain = DEFAULT_GAIN if gain is None else gain
    if isinstance(source, np.ndarray) and source.dtype == bool:
        source = source * np.uint8(255)
    if isinstance(source, np.ndarray) and source.dtype != np.uint8 and source.shape[-1:] == (4,):
        source = source.tolist()  # boxes
    if isinstance(source, np.ndarray | Image.Image):
        return Roi(mask=mask_of(picture.load(source, max_pixels)), gain=gain)
    wanted = "regions of interest are boxes (x, y, width, height), an array or an image"
    if not isinstance(source, list | tuple):
        raise PictureError(f"{wanted}, not {type(source).__name__}", parameter="roi")
    boxes = [source] if len(source) == 4 and all(np.isscalar(value) for value in source) else source
    if not boxes or not all(isinstance(box, list | tuple | np.ndarray) for box in boxes):
        raise PictureError(f"{wanted}, not a sequence of {type(source[0]).__name__ if source else 'nothing'}", parameter="roi")
    return Roi(tuple(tuple(box) for box in boxes), gain=gain)


def mask_of(source: picture.Picture) -> np.ndarray:
    """Return a gray picture as a mask, (H, W) uint8.

    Raises:
        PictureError: it has colours or is transparent.
    """
    pixels = source.pixels
    if source.alpha is not None or not (source.gray or (pixels == pixels[..., :1]).all()):
        raise PictureError("a mask is a gray picture without alpha: white is finest, black coarsest", parameter="roi")
    return pixels[..., 0]
