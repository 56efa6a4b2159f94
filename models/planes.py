"""Networks of one channel, as denoisers of gray pictures in three.

Of a gray x_0 the mean of three channels has a third of their noise's variance: it is an x_t of one channel, at three times the snr.
"""

import math

import torch

from ddpmcodec.models.levels import Levels
from ddpmcodec.models.process import abar_of_snr


def merged(x_t: torch.Tensor, level: int, levels: Levels) -> tuple[torch.Tensor, int]:
    """Return x_t of one channel, (B, 1, H, W), for x_t of three, (B, 3, H, W), and the level nearest to its noise."""
    snr = levels.snr(level)
    nearest = levels.nearest(3 * snr)
    scale = math.sqrt(abar_of_snr(levels.snr(nearest)) / abar_of_snr(snr))
    return scale * x_t.mean(1, keepdim=True), nearest
