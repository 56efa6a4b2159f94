"""The shared random rotation: signs, then Walsh-Hadamard transforms of 4096 interleaved elements.

p and q are isotropic, so rotating both is free; it spreads the picture's energy evenly over the path bits and makes the channel's
noise Gaussian. Element i of the picture (channel, row, column order) stands in block i mod B at place i div B, where B is coprime
to the picture's width so that no block collects a few columns only. Everything here is part of the format.
"""

import numpy as np

from ddpmcodec.channel.codeword import ROTATION_BLOCK as BLOCK

SIDE = 64  # places of a block are transformed as rows and columns
BLOCKS_AT_ONCE = 64  # a megabyte, which a processor's cache holds
FLIPPED_AT_ONCE = 1 << 22  # all at once would take too much memory


def _transform_(x: np.ndarray) -> np.ndarray:
    """Transform each block of x (D,) in place by the orthonormal Walsh-Hadamard matrix, its own inverse; dimensions go place by place.

    Butterflies, rather than products with a matrix: sums in a fixed order have the same bits on every machine, and the threads of a
    linear algebra library, which wait for their next product at full speed, would slow the network by a sixth. The lower half of the bits
    of a place comes first, as the first axis meanwhile: so that numpy has long rows to add up.
    """
    whole = x.reshape(SIDE, SIDE, -1)
    for begin in range(0, whole.shape[2], BLOCKS_AT_ONCE):
        part = whole[..., begin : begin + BLOCKS_AT_ONCE]
        half = _butterflies(np.ascontiguousarray(part.transpose(1, 0, 2)))
        np.multiply(_butterflies(np.ascontiguousarray(half.transpose(1, 0, 2))), x.dtype.type(BLOCK**-0.5), out=part)
    return x


def _butterflies(x: np.ndarray) -> np.ndarray:
    """Return x (`SIDE`, ...) times the Walsh-Hadamard matrix along its first axis; the memory of x is reused."""
    other = np.empty_like(x)
    for bit in range(SIDE.bit_length() - 1):
        pairs = x.reshape(SIDE >> (bit + 1), 2, -1)
        sums = other.reshape(pairs.shape)
        np.add(pairs[:, 0], pairs[:, 1], out=sums[:, 0])
        np.subtract(pairs[:, 0], pairs[:, 1], out=sums[:, 1])
        x, other = other, x
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
