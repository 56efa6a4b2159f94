"""The spacing of the noise levels that the encoder visits: few at high noise, many where the bits are.

The decoder reads the levels from the file, so nothing here is part of the format. A step of size h = ln(snr_s / snr_t) costs about
1 + h / 4 times the bits of infinitely small steps. So for a fixed number of steps the total is least where h is proportional to the
inverse square root of the bits per unit of ln snr, that is of the relative error mse / sigma^2 of the network.
"""

import math

import numpy as np

from ddpmcodec.models.process import sigma_of_snr, typical_relative_error

MAX_STEP = math.log(8.0)
EXPONENT = 0.5
_RESOLUTION = 32  # grid points a unit of ln snr


def typical_gain(log_snr: float, to: float) -> float:
    """Return the PSNR in dB that a typical picture's x0hat gains between two ln snr."""
    mse = [typical_relative_error(sigma_of_snr(math.exp(x))) / math.exp(x) for x in (log_snr, to)]
    return 10 * math.log10(mse[0] / mse[1])


def next_step(log_snr: float, relative_error: float, evaluations: int, nats_per_dimension: float, last: float) -> float:
    """Return how far to go, in ln snr, so that `evaluations` steps spend the nats left.

    Args:
        log_snr: ln snr where the chain stands.
        relative_error: mse / sigma^2 measured there.
        evaluations: steps left, at least 1.
        nats_per_dimension: nats per dimension that they may spend.
        last: ln snr at which the chain ends at the latest.
    """
    relative_error = max(relative_error, 1e-9)  # some pictures are met exactly, such as one white pixel
    grid = np.arange(log_snr, max(last, log_snr + 1 / _RESOLUTION), 1 / _RESOLUTION)
    typical = typical_relative_error(sigma_of_snr(np.exp(grid)))
    error = typical * (relative_error / typical[0])
    spent = np.cumsum(error) / (2 * _RESOLUTION)
    end = min(int(np.searchsorted(spent, nats_per_dimension)) + 1, grid.size)
    root = error[:end] ** EXPONENT
    # The step is `unit` / root, at most `longest`: find the unit that makes their number come out right.
    longest = max(MAX_STEP, end / _RESOLUTION / evaluations)
    low, high = 0.0, longest * float(root.max())
    for _ in range(40):
        unit = (low + high) / 2
        steps = np.sum(1 / np.minimum(unit / root, longest)) / _RESOLUTION
        low, high = (unit, high) if steps > evaluations else (low, unit)
    return min(high / float(root[0]), longest)
