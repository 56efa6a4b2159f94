"""Peak signal-to-noise ratio, which is cheap enough for the encoder to measure at each step."""

import numpy as np

ROWS = 256  # at a time: more would take too much memory


def psnr(a: np.ndarray, b: np.ndarray, visible: np.ndarray | None = None) -> float:
    """Return the PSNR of two pictures, (H, W, 3) uint8, in dB, over all channels; infinite where they are equal.

    Args:
        visible: the pixels that count, (H, W) bool; all where it is None.
    """
    if visible is not None:
        a, b = a[visible], b[visible]
    error = sum(int(np.square(a[y : y + ROWS].astype(np.int32) - b[y : y + ROWS]).sum(dtype=np.int64)) for y in range(0, len(a), ROWS))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / (error / a.size)))
