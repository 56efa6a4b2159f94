"""The mean of a network's predictions over turned and mirrored pictures, which errs less than one. It is not part of the format.

The noise that a network sees is white: turned or mirrored, it is still white, and the picture still a picture.
"""

from dataclasses import dataclass

import numpy as np

from ddpmcodec.denoiser import Predictor
from ddpmcodec.models.levels import Levels

COUNTS = (1, 2, 4, 8)
# The axes of (P, 3, H, W) that are mirrored, and whether rows and columns change places after it: the first 2, 4 or 8 are taken.
ORIENTATIONS: tuple[tuple[tuple[int, ...], bool], ...] = (
    ((), False),
    ((2, 3), False),
    ((3,), False),
    ((2,), False),
    ((), True),
    ((2, 3), True),
    ((3,), True),
    ((2,), True),
)


def turned(x: np.ndarray, axes: tuple[int, ...], exchanged: bool) -> np.ndarray:
    """Return x mirrored along axes, and with rows and columns exchanged after it."""
    mirrored = np.flip(x, axes)
    return mirrored.swapaxes(2, 3) if exchanged else mirrored


def turned_back(x: np.ndarray, axes: tuple[int, ...], exchanged: bool) -> np.ndarray:
    """Return the inverse of `turned`."""
    return np.flip(x.swapaxes(2, 3) if exchanged else x, axes)


@dataclass(frozen=True)
class Oriented:
    """A denoiser whose predictions are means over the first `count` orientations."""

    denoiser: Predictor
    count: int

    @property
    def levels(self) -> Levels:
        """The numbering of the denoiser's noise levels."""
        return self.denoiser.levels

    def predict_x_0(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat of pictures x_t, both (P, 3, H, W) float32, not clamped.

        Raises:
            ModelError: the network predicts values that are not numbers.
        """
        x_0 = np.zeros_like(x_t)
        for orientation in ORIENTATIONS[: self.count]:
            seen = np.ascontiguousarray(turned(x_t, *orientation))
            x_0 += turned_back(self.denoiser.predict_x_0(seen, level), *orientation)
        x_0 /= self.count
        return x_0
