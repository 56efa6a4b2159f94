"""The shared random rotation: signs, then Walsh-Hadamard transforms of 4096 interleaved elements.

p and q are isotropic, so rotating both is free; it spreads the picture's energy evenly over the path bits and makes the channel's
noise Gaussian. Element i of the picture (channel, row, column order) stands in block i mod B at place i div B, where B is coprime
to the picture's width so that no block collects a few columns only. Everything here is part of the format.
"""

from functools import cache

import numpy as np

# All at once would take too much memory.
BLOCKS_AT_ONCE = 1024
FLIPPED_AT_ONCE = 1 << 22


@cache
def _hadamard() -> np.ndarray:
    """The (64, 64) Sylvester-Hadamard matrix over 8, its own inverse, float32; two of them make the transform of 4096."""
    h = np.ones((1, 1), np.float32)
    while len(h) < 64:
        h = np.block([[h, h], [h, -h]])
    return h / 8


def _transform_(x: np.ndarray) -> np.ndarray:
    """Transform each block of x (D,) in place by the orthonormal Walsh-Hadamard matrix, its own inverse; dimensions go place by place."""
    h = _hadamard().astype(x.dtype)
    whole = x.reshape(64, 64, -1)
    for begin in range(0, whole.shape[2], BLOCKS_AT_ONCE):
        blocks = whole[:, :, begin : begin + BLOCKS_AT_ONCE]
        rows = h @ np.ascontiguousarray(blocks)  # for each of the 64 rows, over its 64 places
        blocks[...] = (h @ rows.reshape(64, -1)).reshape(blocks.shape)
    return x


def _flip_(x: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Multiply x (D,) by the signs, in place."""
    for begin in range(0, len(x), FLIPPED_AT_ONCE):
        x[begin : begin + FLIPPED_AT_ONCE] *= signs[begin : begin + FLIPPED_AT_ONCE]
    return x


def rotate(x: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return x (N,) zero-padded to D = len(signs) dimensions, signed and transformed, (D,)."""
    padded = np.zeros(signs.size, x.dtype)
    padded[: x.size] = x
    return _transform_(_flip_(padded, signs))


def unrotate_(y: np.ndarray, signs: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` elements of the inverse of `rotate`, (count,), computed in the memory of y (D,)."""
    return _flip_(_transform_(y), signs)[:count]
