import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ddpmcodec.channel.channel import TrellisChannel, codeword
from ddpmcodec.channel.randomness import SharedRandomness
from ddpmcodec.plan import kl_bits

WIDTH, HEIGHT = 160, 128
COUNT = 3 * WIDTH * HEIGHT


def delta_of(n, nu, kind, channel):
    """A target that n path bits of this code are for: |delta|^2 = D (2^(2 eta n / D) - 1)."""
    rng = np.random.default_rng(n + nu)
    if kind == "gaussian":
        delta = rng.standard_normal(COUNT)
    elif kind == "corner":  # all of it in 12 x 12 pixels
        delta = np.zeros((3, HEIGHT, WIDTH))
        delta[:, :12, :12] = rng.choice([-1, 1], (3, 12, 12)) * rng.uniform(0.5, 1, (3, 12, 12))
        delta = delta.reshape(-1)
    else:  # what a denoiser gets wrong: edges, that is few and neighbouring elements
        x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        edges = np.exp(-(((x - 0.4 * y - 50) / 3) ** 2)) + np.exp(-((np.hypot(x - 100, y - 60) - 30) ** 2))
        delta = (edges * np.array([1, 0.9, 0.6])[:, None, None] * (1 + 0.3 * rng.standard_normal((3, HEIGHT, WIDTH)))).reshape(-1)
    energy = channel.dimensions * (codeword.scale(n, nu, channel.dimensions) ** 2 - 1)
    return (delta * math.sqrt(energy / np.sum(delta**2))).astype(np.float32)


@pytest.fixture
def channel():
    return TrellisChannel(SharedRandomness(5, 0), COUNT, WIDTH)


@pytest.mark.parametrize("kind", ["gaussian", "edges", "corner"])
@pytest.mark.parametrize(("n", "nu"), [(4096, 8), (16384, 8), (12288, 10), (3500, 10)])
def test_the_receiver_gets_a_sample_of_q(channel, n, nu, kind):
    n = codeword.legal_bits(n)
    delta = delta_of(n, nu, kind, channel)
    message = channel.send(delta, 3, n, nu)
    assert len(message) == -(-n // 8)
    z = channel.receive(message, 3, n, nu)
    assert z.shape == (COUNT,) and z.dtype == np.float32
    z, delta = z.astype(np.float64), delta.astype(np.float64)
    share = (delta @ z) / (delta @ delta)
    assert 0.98 < share < 1.02
    noise = z - delta
    assert 0.99 < noise.var(ddof=1) < 1.01
    assert abs(noise.mean()) < 0.02
    assert 2.9 < (((noise - noise.mean()) / noise.std()) ** 4).mean() < 3.1


def test_noise_is_white(channel):
    """Neighbouring elements of the noise are uncorrelated, and it does not follow delta."""
    n, nu = 12288, 8
    delta = delta_of(n, nu, "edges", channel)
    noise = (channel.receive(channel.send(delta, 0, n, nu), 0, n, nu) - delta).astype(np.float64).reshape(3, HEIGHT, WIDTH)
    for pair in [(noise[:, :, 1:], noise[:, :, :-1]), (noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1])]:
        assert abs((pair[0] * pair[1]).mean()) < 0.02
    assert abs(noise.reshape(-1) @ delta) / np.square(delta, dtype=np.float64).sum() < 0.02


def test_other_steps_and_seeds_read_another_sample(channel):
    n, nu = 2048, 8
    delta = delta_of(n, nu, "gaussian", channel)
    message = channel.send(delta, 1, n, nu)
    energy = np.square(delta).sum()
    assert channel.receive(message, 1, n, nu) @ delta / energy == pytest.approx(1, abs=0.1)
    assert abs(channel.receive(message, 2, n, nu) @ delta / energy) < 0.3
    other = TrellisChannel(SharedRandomness(6, 0), COUNT, WIDTH)
    assert abs(other.receive(message, 1, n, nu) @ delta / energy) < 0.3


def test_no_bits_are_noise_alone(channel):
    delta = np.zeros(COUNT, np.float32)
    assert channel.send(delta, 0, 0, 10) == b""
    z = channel.receive(b"", 0, 0, 10)
    assert np.square(z).mean() == pytest.approx(1, abs=0.02)
    assert not np.array_equal(z, channel.receive(b"", 1, 0, 10))


@pytest.mark.parametrize("nu", [8, 10, 12, 14, 16])
def test_energy_is_exact_for_any_message(nu):
    """|z|^2 = D 2^(2 eta n / D) whatever the bits, here for a picture that fills its blocks."""
    channel = TrellisChannel(SharedRandomness(0, 0), 3 * 64 * 64, 65)
    assert channel.dimensions == 3 * 64 * 64
    eta = {8: 0.902, 10: 0.925, 12: 0.941, 14: 0.952, 16: 0.961}[nu]
    message = np.random.default_rng(0).bytes(125)
    z = channel.receive(message, 0, 1000, nu).astype(np.float64)
    assert np.square(z).mean() == pytest.approx(2 ** (2 * eta * 1000 / channel.dimensions), rel=1e-5)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 65])
def test_few_bits_and_a_tiny_picture(n):
    channel = TrellisChannel(SharedRandomness(0, 0), 3, 1)
    message = channel.send(np.array([40.0, -3.0, 1.0], np.float32), 0, n, 8)
    assert len(message) == -(-n // 8)
    assert message[-1] & (0xFF >> (n % 8 or 8)) == 0
    assert np.isfinite(channel.receive(message, 0, n, 8)).all()


def test_kl_is_that_of_the_gaussians():
    """KL(N(delta, 1) || N(0, 1 + d^2)) with d^2 = |delta|^2 / N, over all N dimensions."""
    delta = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.7
    energy = delta.square().sum().item()
    wide = Normal(torch.zeros_like(delta), math.sqrt(1 + energy / 500))
    nats = kl_divergence(Normal(delta, torch.ones_like(delta)), wide).sum().item()
    assert kl_bits(energy, 500) == pytest.approx(nats / math.log(2), rel=1e-9)
    assert kl_bits(0, 500) == 0
