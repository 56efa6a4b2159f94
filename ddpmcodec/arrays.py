"""The arrays of the chain: 8-bit pixels to x in [-1, 1] and back.

Several pictures of one size that are coded together are one array of pixels, (P H, W, 3): one above the other.
"""

import numpy as np

ROWS = 256  # at a time: more would take too much memory


def from_pixels(pixels: np.ndarray, pictures: int = 1) -> np.ndarray:
    """Return pixels, (P H, W, 3) uint8, as x, (P, 3, H, W) float32 in [-1, 1]."""
    height = len(pixels) // pictures
    x = np.empty((pictures, pixels.shape[2], height, pixels.shape[1]), np.float32)
    x[:] = pixels.reshape(pictures, height, *pixels.shape[1:]).transpose(0, 3, 1, 2)
    x /= np.float32(127.5)
    x -= 1
    return x


def to_pixels(x: np.ndarray) -> np.ndarray:
    """Return x, (P, 3, H, W), clamped to [-1, 1], as pixels, (P H, W, 3) uint8."""
    pixels = np.empty((len(x), *x.shape[2:], x.shape[1]), np.uint8)
    for y in range(0, x.shape[2], ROWS):
        part = np.clip(x[:, :, y : y + ROWS], -1, 1)
        part += 1
        part *= np.float32(127.5)
        pixels[:, y : y + ROWS] = np.rint(part, out=part).transpose(0, 2, 3, 1)
    return pixels.reshape(-1, *pixels.shape[2:])


def planes(x: np.ndarray) -> np.ndarray:
    """Return pictures (P, 3, H, W) one above the other, (3, P H, W)."""
    return x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1, x.shape[3])


def squared_norm(x: np.ndarray) -> float:
    """Return |x|^2, summed in float64."""
    flat = x.reshape(-1)
    return sum(float(np.square(flat[i : i + (1 << 20)], dtype=np.float64).sum()) for i in range(0, flat.size, 1 << 20))
