"""The spacing of the noise levels that the encoder visits: few at high noise, many where the bits are.

The decoder reads the levels from the file, so nothing here is part of the format. A step of size h = ln(snr_s / snr_t) costs about
1 + h / 4 times the bits of infinitely small steps. So for a fixed number of steps the total is least where h is proportional to the
inverse square root of the bits per unit of ln snr: of the relative error mse / sigma^2 of the network, where noise is white.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ddpmcodec.format.shape import Shape
from ddpmcodec.models.process import sigma_of_snr, typical_relative_error

MAX_STEP = math.log(8.0)
EXPONENT = 0.5
_RESOLUTION = 32  # grid points a unit of ln snr


class Typical(NamedTuple):
    """Errors of a good denoiser of photos as functions of snr, up to a factor that depends on the picture.

    Attributes:
        rate: twice the nats per element and unit of ln snr.
        mse: mean squared error of x0hat.
    """

    rate: Callable
    mse: Callable


def _rate(snr):
    return typical_relative_error(sigma_of_snr(snr))


def _times(factors: Mapping[float, float], snr):
    """Return `_rate` times factors that are given at some sigmas, of 255, and linear in ln sigma between them."""
    return _rate(snr) * np.interp(np.log(sigma_of_snr(snr)), np.log([*factors]), [*factors.values()])


WHITE = Typical(_rate, lambda snr: _rate(snr) / snr)
# Measured with photo-2 and table 2 on training photos. Over its ramp noise falls faster than sigma, and so the rate is higher.
_SHAPED_RATE = {
    0.99: 0.955, 1.01: 1.96, 2.4: 1.16, 4.5: 0.95, 8: 0.81, 15: 0.7, 20: 0.7, 28: 0.615, 100: 0.73, 130: 0.79, 361: 0.76, 900: 0.57
}  # fmt: skip
_SHAPED_ERROR = {0.55: 1.07, 1.2: 1.45, 2.4: 2.1, 4.5: 2.98, 8: 3.68, 20: 3.58, 40: 2.63, 80: 1.94, 130: 1.88, 250: 1.42, 900: 0.7}
SHAPED = Typical(lambda snr: _times(_SHAPED_RATE, snr), lambda snr: _times(_SHAPED_ERROR, snr) / snr)


def typical_of(shape: Shape | None) -> Typical:
    """Return the typical errors in white noise, or in noise of a shape."""
    return WHITE if shape is None or shape.is_even else SHAPED


def gain(typical: Typical, log_snr: float, to: float) -> float:
    """Return the PSNR in dB that a typical picture's x0hat gains between two ln snr."""
    return 10 * math.log10(typical.mse(math.exp(log_snr)) / typical.mse(math.exp(to)))


def next_step(typical: Typical, log_snr: float, rate: float, evaluations: int, nats_per_dimension: float, last: float) -> float:
    """Return how far to go, in ln snr, so that `evaluations` steps spend the nats left.

    Args:
        log_snr: ln snr where the chain stands.
        rate: twice the nats per element and unit of ln snr, measured there.
        evaluations: steps left, at least 1.
        nats_per_dimension: nats per dimension that they may spend.
        last: ln snr at which the chain ends at the latest.
    """
    rate = max(rate, 1e-9)  # some pictures are met exactly, such as one white pixel
    grid = np.arange(log_snr, max(last, log_snr + 1 / _RESOLUTION), 1 / _RESOLUTION)
    rates = typical.rate(np.exp(grid))
    rates *= rate / rates[0]
    spent = np.cumsum(rates) / (2 * _RESOLUTION)
    end = min(int(np.searchsorted(spent, nats_per_dimension)) + 1, grid.size)
    root = rates[:end] ** EXPONENT
    # The step is `unit` / root, at most `longest`: find the unit that makes their number come out right.
    longest = max(MAX_STEP, end / _RESOLUTION / evaluations)
    low, high = 0.0, longest * float(root.max())
    for _ in range(40):
        unit = (low + high) / 2
        steps = np.sum(1 / np.minimum(unit / root, longest)) / _RESOLUTION
        low, high = (unit, high) if steps > evaluations else (low, unit)
    return min(high / float(root[0]), longest)
