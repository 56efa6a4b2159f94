"""Universal quantization: its noise and its bits against independent computations."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from ddpmcodec.channel.randomness import SharedRandomness
from ddpmcodec.eval import universal
from ddpmcodec.eval.universal import DELTA, UniversalChannel
from ddpmcodec.plan import kl_bits

COUNT = 120_000


def delta_of(deviation: float) -> np.ndarray:
    return deviation * np.random.default_rng(1).standard_normal(COUNT)


@pytest.mark.parametrize("deviation", [0.1, 1.0, 8.0])
def test_the_noise_is_uniform_of_variance_one_and_independent(deviation: float):
    delta = delta_of(deviation)
    dither = np.random.default_rng(2).uniform(-0.5, 0.5, COUNT)
    noise = universal.quantize(delta, dither) - delta
    assert stats.kstest(noise, stats.uniform(-DELTA / 2, DELTA).cdf).pvalue > 1e-3
    assert noise.var() == pytest.approx(1, abs=0.01) and abs(np.corrcoef(noise, delta)[0, 1]) < 0.01


@pytest.mark.parametrize("deviation", [0.05, 0.5, 3.0, 30.0])
def test_bits_are_the_mutual_information(deviation: float):
    """Of delta and delta + noise: h(N * U) - h(U) (Zamir & Feder 1992), by quadrature."""

    def density(z: float) -> float:
        return (stats.norm.cdf((z + DELTA / 2) / deviation) - stats.norm.cdf((z - DELTA / 2) / deviation)) / DELTA

    edge = DELTA / 2 + 9 * deviation
    entropy = integrate.quad(
        lambda z: -density(z) * math.log2(max(density(z), 1e-300)), -edge, edge, limit=400, points=[-DELTA / 2, DELTA / 2]
    )[0]
    delta = delta_of(deviation)
    z, bits = UniversalChannel(SharedRandomness(0, 0), COUNT, 101).transmit(delta, 3)
    assert bits / COUNT == pytest.approx(entropy - math.log2(DELTA), rel=0.03, abs=2e-3)
    assert bits > kl_bits(float(np.square(delta).sum()), COUNT)  # what a Gaussian channel would take
    assert float((z - delta).var()) == pytest.approx(1, abs=0.02)


def test_far_tails_have_finite_bits():
    assert universal.ideal_bits(np.array([500.0]), 1e-4) == pytest.approx((500 - DELTA / 2) ** 2 / 2e-4 / math.log(2), rel=1e-3)
