"""The chain as the paper has it: what the receiver holds after each step is a sample of q(x_s | x_t, x_0)."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ddpmcodec import arrays, decoder
from ddpmcodec.channel.randomness import STREAM_START, SharedRandomness
from ddpmcodec.format import container
from ddpmcodec.models import arithmetic, process
from ddpmcodec.noise import delta_of


def test_the_chain_starts_from_shared_noise(encoding, model):
    parsed = container.parse(encoding.data)
    state = next(decoder.states(parsed, arithmetic.denoiser(model)))
    noise = SharedRandomness(7, 1).gaussians(3 * 80 * 100, STREAM_START)
    assert np.array_equal(state.x_t.reshape(-1), noise)
    assert (state.index, state.level, state.previous_x0hat) == (0, model.start, None)


def test_target_is_the_distance_of_the_means():
    x_0, x0hat, x_t = np.random.default_rng(0).standard_normal((3, 1, 3, 4, 5))
    snr_s, snr_t = 3.0, 1.7
    q = process.posterior(process.abar_of_snr(snr_s), process.abar_of_snr(snr_t))
    delta = delta_of((x_0 - x0hat).reshape(-1), q)
    expected = (q.mean(x_0, x_t) - q.mean(x0hat, x_t)) / math.sqrt(q.variance)
    np.testing.assert_allclose(delta, expected.reshape(-1))
    energy = ((x_0 - x0hat) ** 2).sum() * (snr_s - snr_t)
    assert np.square(delta).sum() == pytest.approx(energy, rel=1e-9)
    means = torch.from_numpy(delta)
    kl = kl_divergence(Normal(means, 1), Normal(torch.zeros_like(means), 1)).sum()
    assert kl.item() == pytest.approx(energy / 2, rel=1e-9)


def test_each_state_is_a_sample_of_q_given_the_picture(large_encoding, photo, model):
    """(x_s - q's mean) / q's deviation of the long steps: variance 1, kurtosis 3; and x_t itself is the picture with its level's noise.

    The bounds are wide for a picture as small as this: the channel's own tests have the narrow ones.
    """
    parsed = container.parse(large_encoding.data)
    x_0 = arrays.from_pixels(photo).astype(np.float64)
    states = list(decoder.states(parsed, arithmetic.denoiser(model)))
    assert [s.level for s in states[1:]] == [s.level for s in parsed.steps]
    long = 0
    for before, after, step in zip(states[:-1], states[1:], parsed.steps, strict=True):
        abar_t, abar_s = (process.abar_of_snr(model.levels.snr(s.level)) for s in (before, after))
        q = process.posterior(abar_s, abar_t)
        noise = (after.x_t.astype(np.float64) - q.mean(x_0, before.x_t.astype(np.float64))) / math.sqrt(q.variance)
        eps = (after.x_t.astype(np.float64) - math.sqrt(abar_s) * x_0) / math.sqrt(1 - abar_s)
        assert eps.var() == pytest.approx(1, abs=0.04)
        if step.n > 3000:
            long += 1
            assert 0.97 < noise.var() < 1.03
            assert 2.85 < ((noise / noise.std()) ** 4).mean() < 3.15
    assert long >= 4
