"""Peak signal-to-noise ratio, which is what an encoder can measure at each step."""

import numpy as np

ROWS = 256  # at a time, where more would take too much memory


def psnr(a: np.ndarray, b: np.ndarray, visible: np.ndarray | None = None) -> float:
    """PSNR of two uint8 pictures (H, W, 3) in dB, over all channels; infinite where they are equal.

    Args:
        visible: (H, W) bool: count only these pixels.
    """
    if visible is not None:
        a, b = a[visible], b[visible]
    error = sum(int(np.square(a[y : y + ROWS].astype(np.int32) - b[y : y + ROWS]).sum(dtype=np.int64)) for y in range(0, len(a), ROWS))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / (error / a.size)))
