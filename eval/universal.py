"""Universal quantization as a way to send the samples: what it would cost. No file is made with it.

UQDM (Yang et al., ICLR 2025, arXiv 2412.10935) replaces the Gaussian posteriors by uniform ones of the same variance, which dithered
quantization sends exactly (Ziv 1985): z = Delta (round(delta / Delta - u) + u), with a shared dither u in [-1/2, 1/2), is delta plus
uniform noise.
Here in units of q's standard deviation, Delta = sqrt(12), after the format's rotation, which makes delta Gaussian of variance d^2.
"""

import math

import numpy as np

from ddpmcodec.channel import codeword, rotation
from ddpmcodec.channel.randomness import STREAM_ROTATION, SharedRandomness
from ddpmcodec.models.process import bits_of_nats

STREAM_DITHER = 103
DELTA = math.sqrt(12)  # so that the noise has variance 1


def quantize(delta: np.ndarray, dither: np.ndarray) -> np.ndarray:
    """z, delta plus noise that is uniform in [-Delta / 2, Delta / 2]; all of shape (D,), the dither in [-1/2, 1/2)."""
    return DELTA * (np.round(delta / DELTA - dither) + dither)


def ideal_bits(z: np.ndarray, variance: float) -> float:
    """The ideal length in bits of the integers behind z (D,), given the dither, where delta is N(0, `variance`): an entropy coder's bound.

    Given the dither, a cell has the probability that delta lies within Delta / 2 of its z.
    """
    from scipy.special import log_ndtr

    deviation = math.sqrt(max(variance, 1e-12))
    # In the tail that both limits are in, where the difference of distribution functions keeps its precision.
    near, far = (DELTA / 2 - np.abs(z)) / deviation, (-DELTA / 2 - np.abs(z)) / deviation
    upper, lower = log_ndtr(near), log_ndtr(far)
    return bits_of_nats(float(-(upper + np.log1p(-np.exp(lower - upper))).sum()))


class UniversalChannel:
    """Sends and receives at once: what a receiver gets, and how many bits that would take.

    Args:
        randomness: what sender and receiver share.
        count: N, the number of coded elements.
        width: the picture's width, on which the interleaving depends.
    """

    def __init__(self, randomness: SharedRandomness, count: int, width: int):
        self.randomness = randomness
        self.count = count
        self.dimensions = codeword.padded_size(count, width)

    def transmit(self, delta: np.ndarray, step: int) -> tuple[np.ndarray, float]:
        """z (N,) for delta (N,), and its ideal bits; both sides know d^2."""
        signs = self.randomness.signs(self.dimensions, STREAM_ROTATION, step)
        words = self.randomness.words(self.dimensions, STREAM_DITHER, step)
        dither = (words >> 11) / 2.0**53 - 0.5
        target = rotation.rotate(delta.astype(np.float32, copy=False), signs).astype(np.float64)
        z = quantize(target, dither)
        variance = float(np.square(target).mean())
        return rotation.unrotate_(z.astype(np.float32), signs, self.count), ideal_bits(z, variance)
