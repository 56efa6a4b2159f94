"""The spacing of the noise levels that the encoder visits: few at high noise, many where the bits are.

The decoder reads the levels from the file, so nothing here is part of the format. A step of size h = ln(snr_s / snr_t) costs
r (e^h - 1) / 2 nats per element, infinitely small steps r h / 2, where r is the relative error mse / sigma^2 of the network if noise is
white. With r about constant over a step, the nats of a number of steps, the integral of 1 / h, are least where
e^h (h - 1) + 1 is proportional to 1 / r: short steps h to the inverse square root of r, long ones to no more than its logarithm.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ddpmcodec.format.shape import Shape
from ddpmcodec.models.process import sigma_of_snr, typical_relative_error

MAX_STEP = math.log(8.0)
_RESOLUTION = 32  # grid points a unit of ln snr
_LOG_STEP = np.linspace(math.log(1e-4), math.log(32), 1000)
_LOG_SLOPE = np.log(np.exp(_LOG_STEP + np.exp(_LOG_STEP)) - np.expm1(np.exp(_LOG_STEP)))  # of e^h (h - 1) + 1


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
    log_rates = np.log(rates)

    def walk(log_unit: float) -> tuple[float, float]:
        """Return the number of steps that spend the nats, and the length of the first, if the factor of 1 / r is e^log_unit."""
        h = np.exp(np.interp(log_unit - log_rates, _LOG_SLOPE, _LOG_STEP))
        spent = np.cumsum(rates * np.expm1(h) / h) / (2 * _RESOLUTION)
        end = int(np.searchsorted(spent, nats_per_dimension)) + 1
        return np.sum(1 / h[:end]) / _RESOLUTION, float(h[0])

    low, high = log_rates.min() + _LOG_SLOPE[0], log_rates.max() + _LOG_SLOPE[-1]
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if walk(middle)[0] > evaluations else (low, middle)
    return walk(high)[1]
