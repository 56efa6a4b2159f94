"""The padding of a network's input to a multiple of its stride."""

import numpy as np


def pad_to_multiple(x: np.ndarray, multiple: int) -> np.ndarray:
    """Pad x (B, C, H, W) at the bottom and on the right by reflection, as often as it takes, until both sides are multiples."""
    height, width = x.shape[2:]
    padding = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
    return np.pad(x, padding, mode="reflect") if any(map(any, padding)) else x
