"""Gray pictures, of which only luma is coded of the three dimensions of a pixel.

In the orthonormal colour system of `AXES` noise is as white as in RGB, and a gray x_0 has no chroma. So both sides know the chroma of
q(x_s | x_t, x_0) and draw it from the randomness that they share, at no cost.
"""

import math

import numpy as np

# Rows: luma, and two axes of chroma.
AXES = (np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])).astype(np.float32)


def luma(x: np.ndarray) -> np.ndarray:
    """Return the luma, (P, 1, H, W), of x, (P, 3, H, W)."""
    return x.sum(1, keepdims=True) / np.float32(math.sqrt(3))


def with_chroma(y: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Return x, (P, 3, H, W), of luma (P, 1, H, W) and chroma (P, 2, H, W)."""
    return np.einsum("pahw,ac->pchw", np.concatenate([y, chroma], 1), AXES)


def without_chroma(x: np.ndarray) -> np.ndarray:
    """Return the gray picture nearest to x, both (P, 3, H, W)."""
    return np.repeat(x.mean(1, keepdims=True), 3, axis=1)
